// Two files of node:sqlite. `ledger.sqlite` holds what cannot be found out again: when things were last used. What is
// stored and who links it lies in `census.sqlite`, which is made anew by each process: a torn file of an earlier one may
// cost the order in which things go, never a blob that is needed.
import { closeSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makeFolderSync } from '../bytes/folder.ts'

/** Another one is thrown away. */
const version = 1

const ledgerFile = 'ledger.sqlite'
const censusFile = 'census.sqlite'

/** Nothing need reach the disk at once. The lock is what keeps a second process out. */
const settings = `
  PRAGMA main.locking_mode = EXCLUSIVE;
  PRAGMA main.journal_mode = WAL;
  PRAGMA main.synchronous = OFF;
  PRAGMA main.journal_size_limit = 4194304;
`

const uses = `
  CREATE TABLE IF NOT EXISTS uses (
    repository TEXT NOT NULL, digest TEXT NOT NULL, used REAL NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS clock (
    id INTEGER PRIMARY KEY CHECK (id = 0), begun REAL NOT NULL, now REAL NOT NULL, wall REAL NOT NULL
  ) STRICT;
  PRAGMA user_version = ${version};
`

const census = `
  PRAGMA census.journal_mode = MEMORY;
  PRAGMA census.synchronous = OFF;
  PRAGMA census.cache_size = -16384;
  -- Files. \`idle\`: since when nothing links them.
  CREATE TABLE census.blobs (
    target TEXT PRIMARY KEY, size INTEGER NOT NULL, modified REAL NOT NULL, idle REAL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX census.blobs_idle ON blobs (idle) WHERE idle IS NOT NULL;
  CREATE TABLE census.links (
    repository TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL, target TEXT NOT NULL,
    PRIMARY KEY (repository, kind, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX census.links_target ON links (repository, target);
  -- What a repository links, once however many links it takes. \`rank\`: its place among what may go, the least first.
  CREATE TABLE census.items (
    repository TEXT NOT NULL, target TEXT NOT NULL, rank REAL, PRIMARY KEY (repository, target)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX census.items_target ON items (target);
  CREATE INDEX census.items_rank ON items (rank) WHERE rank IS NOT NULL;
  -- What belongs to a manifest: what it refers to, and what refers to it as its subject.
  CREATE TABLE census.names (
    repository TEXT NOT NULL, manifest TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (repository, manifest, target)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX census.names_target ON names (repository, target);
  CREATE TABLE census.tags (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX census.tags_digest ON tags (repository, digest);
`

/** Another process has the ledger of this folder. */
export class LedgerBusyError extends Error {
  override readonly name = 'LedgerBusyError'
}

/** What is in the file is nothing that a ledger of this version has written. */
export class LedgerDamageError extends Error {
  override readonly name = 'LedgerDamageError'
}

export interface OpenedDatabase {
  readonly database: DatabaseSync
  /** What was wrong with the file that was there before; it was thrown away. */
  readonly damage: unknown
}

/** The file as an earlier process left it; without what it holds; or no file at all. */
export type LedgerPlace = 'as it is' | 'anew' | 'in memory'

/** @throws LedgerBusyError; what node:sqlite and the file system throw where no file can be made */
export function openDatabase(folder: string | undefined, place: LedgerPlace): OpenedDatabase {
  if (folder === undefined || place === 'in memory') return { database: openFiles(undefined), damage: undefined }
  makeFolderSync(folder, 0o750)
  let damage: unknown
  try {
    if (place === 'as it is') return { database: openFiles(folder), damage }
  } catch (error) {
    if (!isDamage(error)) throw error
    damage = error
  }
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    rmSync(join(folder, ledgerFile + suffix), { recursive: true, force: true })
  }
  return { database: openFiles(folder), damage }
}

/** Whether what is in the file is to blame, rather than where it lies. */
export function isDamage(error: unknown): boolean {
  const code = codeOf(error)
  if (code === undefined) return error instanceof LedgerDamageError
  // All but: locked, out of memory, read-only, interrupted, I/O error, full, cannot be opened.
  return ![5, 6, 7, 8, 9, 10, 13, 14].includes(code)
}

/** SQLite's own, without what it adds in the higher bits. */
function codeOf(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined
}

function openFiles(folder: string | undefined): DatabaseSync {
  const database = new DatabaseSync(folder === undefined ? ':memory:' : privateFile(folder, ledgerFile))
  try {
    openLedger(database)
    // Only now is it sure that no other process uses it.
    if (folder !== undefined) {
      for (const suffix of ['', '-journal']) rmSync(join(folder, censusFile + suffix), { recursive: true, force: true })
    }
    database.prepare('ATTACH ? AS census').run(folder === undefined ? ':memory:' : privateFile(folder, censusFile))
    database.exec(census)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Names of repositories are not for everybody; SQLite would make it so. What it puts beside a file is as private. */
function privateFile(folder: string, name: string): string {
  const path = join(folder, name)
  closeSync(openSync(path, 'a', 0o640))
  return path
}

function openLedger(database: DatabaseSync): void {
  try {
    database.exec(settings)
    database.exec('BEGIN EXCLUSIVE')
    const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
    if (found !== 0 && found !== version) throw new LedgerDamageError(`version ${found} of a ledger is not understood`)
    database.exec(uses)
    database.prepare('SELECT repository, digest, used FROM uses LIMIT 1').get()
    database.prepare('SELECT begun, now, wall FROM clock').get()
    database.exec('COMMIT')
  } catch (error) {
    if (codeOf(error) === 5)
      throw new LedgerBusyError('another process keeps the ledger of this folder', { cause: error })
    throw error
  }
}
