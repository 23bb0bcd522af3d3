// All that is asked of the ledger's tables (database.ts). Each of them finds its rows by an index.
import type { DatabaseSync, StatementSync } from 'node:sqlite'

export class Statements {
  readonly clock: StatementSync
  readonly keepClock: StatementSync
  readonly blob: StatementSync
  readonly setBlob: StatementSync
  readonly deleteBlob: StatementSync
  readonly setIdle: StatementSync
  readonly idle: StatementSync
  readonly link: StatementSync
  readonly setLink: StatementSync
  readonly deleteLink: StatementSync
  readonly linksTo: StatementSync
  readonly isLinkedAs: StatementSync
  readonly item: StatementSync
  readonly addItem: StatementSync
  readonly deleteItem: StatementSync
  readonly isLinked: StatementSync
  readonly oldest: StatementSync
  readonly rank: StatementSync
  readonly rerank: StatementSync
  readonly setName: StatementSync
  readonly namedBy: StatementSync
  readonly namers: StatementSync
  readonly namer: StatementSync
  readonly deleteNames: StatementSync
  readonly renameNames: StatementSync
  readonly dropNames: StatementSync
  readonly tag: StatementSync
  readonly setTag: StatementSync
  readonly deleteTag: StatementSync
  readonly tagsOf: StatementSync
  readonly use: StatementSync
  readonly setUse: StatementSync
  readonly firstUse: StatementSync
  readonly forgetUse: StatementSync
  readonly lastUse: StatementSync
  readonly usesAfter: StatementSync

  constructor(database: DatabaseSync) {
    const sql = (source: string): StatementSync => database.prepare(source)
    this.clock = sql('SELECT begun, now, wall FROM clock')
    this.keepClock = sql('INSERT OR REPLACE INTO clock (id, begun, now, wall) VALUES (0, ?, ?, ?)')

    this.blob = sql('SELECT size, modified FROM blobs WHERE target = ?')
    this.setBlob = sql(
      `INSERT INTO blobs (target, size, modified, idle) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET size = excluded.size, idle = excluded.idle`,
    )
    this.deleteBlob = sql('DELETE FROM blobs WHERE target = ?')
    this.setIdle = sql('UPDATE blobs SET idle = ? WHERE target = ?')
    this.idle = sql('SELECT target FROM blobs WHERE idle IS NOT NULL AND idle <= ? ORDER BY idle LIMIT 1')

    this.link = sql('SELECT target FROM links WHERE repository = ? AND kind = ? AND digest = ?')
    this.setLink = sql('INSERT OR REPLACE INTO links (repository, kind, digest, target) VALUES (?, ?, ?, ?)')
    this.deleteLink = sql('DELETE FROM links WHERE repository = ? AND kind = ? AND digest = ?')
    this.linksTo = sql('SELECT kind, digest FROM links WHERE repository = ? AND target = ?')
    this.isLinkedAs = sql(
      "SELECT target FROM links WHERE repository = ? AND kind IN ('blobs', 'manifests') AND digest = ? LIMIT 1",
    )

    this.item = sql('SELECT 1 FROM items WHERE repository = ? AND target = ?')
    this.addItem = sql('INSERT OR IGNORE INTO items (repository, target, rank) VALUES (?, ?, NULL)')
    this.deleteItem = sql('DELETE FROM items WHERE repository = ? AND target = ?')
    this.isLinked = sql('SELECT 1 FROM items WHERE target = ? LIMIT 1')
    this.oldest = sql(
      'SELECT repository, target, rank FROM items WHERE rank IS NOT NULL AND rank <= ? ORDER BY rank LIMIT 1',
    )
    this.rank = sql('UPDATE items SET rank = ? WHERE repository = ? AND target = ?')
    this.rerank = sql('UPDATE items SET rank = ? WHERE repository = ? AND target = ? AND rank IS NOT NULL')

    this.setName = sql('INSERT OR IGNORE INTO names (repository, manifest, target) VALUES (?, ?, ?)')
    this.namedBy = sql('SELECT target FROM names WHERE repository = ? AND manifest = ?')
    const namers = `SELECT names.manifest FROM names JOIN items
      ON items.repository = names.repository AND items.target = names.manifest
      WHERE names.repository = ? AND names.target = ?`
    this.namers = sql(namers)
    this.namer = sql(`${namers} LIMIT 1`)
    this.deleteNames = sql('DELETE FROM names WHERE repository = ? AND manifest = ?')
    this.renameNames = sql('UPDATE OR IGNORE names SET target = ? WHERE repository = ? AND target = ?')
    this.dropNames = sql('DELETE FROM names WHERE repository = ? AND target = ?')

    this.tag = sql('SELECT digest FROM tags WHERE repository = ? AND tag = ?')
    this.setTag = sql('INSERT OR REPLACE INTO tags (repository, tag, digest) VALUES (?, ?, ?)')
    this.deleteTag = sql('DELETE FROM tags WHERE repository = ? AND tag = ?')
    this.tagsOf = sql(
      `SELECT tags.tag, tags.digest FROM links JOIN tags
       ON tags.repository = links.repository AND tags.digest = links.digest
       WHERE links.repository = ? AND links.target = ? AND links.kind = 'manifests'`,
    )

    this.use = sql('UPDATE uses SET used = ? WHERE repository = ? AND digest = ?')
    this.setUse = sql('INSERT OR REPLACE INTO uses (repository, digest, used) VALUES (?, ?, ?)')
    this.firstUse = sql('INSERT OR IGNORE INTO uses (repository, digest, used) VALUES (?, ?, ?)')
    this.forgetUse = sql('DELETE FROM uses WHERE repository = ? AND digest = ?')
    this.lastUse = sql(
      `SELECT max(uses.used) AS used FROM links JOIN uses
       ON uses.repository = links.repository AND uses.digest = links.digest
       WHERE links.repository = ? AND links.target = ?`,
    )
    this.usesAfter = sql(
      `SELECT repository, digest, EXISTS (
         SELECT 1 FROM links WHERE links.repository = uses.repository AND links.digest = uses.digest
           AND links.kind IN ('blobs', 'manifests')
       ) AS linked FROM uses WHERE (repository, digest) > (?, ?) ORDER BY repository, digest LIMIT 500`,
    )
  }
}
