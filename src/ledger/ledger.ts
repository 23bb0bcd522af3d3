// What is stored, who links it and when it was last used: the answer to «what may go next?» costs an index, not a walk.
import type { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Fact } from '../registry/usage.ts'
import { LedgerClock, type ClockOptions } from './clock.ts'
import { openDatabase, type LedgerPlace } from './database.ts'
import type { Pins } from './pins.ts'
import { digestIn, textIn } from './rows.ts'
import { Statements } from './statements.ts'
import { Units, type Unit, type UnitLink } from './units.ts'

export interface LedgerOptions {
  /** The files' folder; `undefined`: no files. */
  readonly folder: string | undefined
  readonly place: LedgerPlace
  /** Bytes that may be stored; `Infinity`: any number. */
  readonly maxSize: number
  /** Whether a repository can be pulled again. */
  readonly isCopy: (repository: RepositoryName) => boolean
  readonly pins: Pins
  readonly clocks: Pick<ClockOptions, 'wall' | 'monotonic'>
}

/** Something that happened, and when, by the ledger's clock. */
export interface Event {
  readonly fact: Fact
  readonly at: number
}

export interface Use {
  readonly repository: RepositoryName
  readonly digest: Digest
  readonly used: number
}

/** A row of uses; the repository may be a folder whose name is none. */
export interface UsePlace {
  readonly repository: string
  readonly digest: string
}

/** Every call is short, and throws what node:sqlite does: the files are of no use then. */
export class Ledger implements Disposable {
  /** What was wrong with the ledger of an earlier process, if anything. */
  readonly damage: unknown
  readonly #options: LedgerOptions
  readonly #database: DatabaseSync
  readonly #sql: Statements
  readonly #units: Units
  readonly #clock: LedgerClock
  readonly #begun: number
  /** What was taken away since the survey began: it may have seen it before. */
  #gone: Set<string> | undefined = new Set()
  /** What has come to be otherwise since then: it may have seen what was before. */
  #changed: Set<string> | undefined = new Set()
  #size = 0
  #blobs = 0

  private constructor(options: LedgerOptions, database: DatabaseSync, damage: unknown) {
    this.#options = options
    this.#database = database
    this.damage = damage
    this.#sql = new Statements(database)
    this.#units = new Units({ sql: this.#sql, isCopy: options.isCopy, pins: options.pins })
    const kept = this.#sql.clock.get()
    const { now, wall, begun } = kept ?? {}
    this.#clock = new LedgerClock({
      ...options.clocks,
      kept: typeof now === 'number' && typeof wall === 'number' ? { now, wall } : undefined,
    })
    this.#begun = typeof begun === 'number' ? begun : this.now()
  }

  /** @throws LedgerBusyError; what node:sqlite and the file system throw */
  static open(options: LedgerOptions): Ledger {
    const { database, damage } = openDatabase(options.folder, options.place)
    try {
      return new Ledger(options, database, damage)
    } catch (error) {
      database.close()
      throw error
    }
  }

  /** Bytes of all blobs, each counted once. */
  get size(): number {
    return this.#size
  }

  get blobs(): number {
    return this.#blobs
  }

  now(): number {
    return this.#clock.now()
  }

  isFull(more: number): boolean {
    return this.#size + more > this.#options.maxSize
  }

  /** What has not been used since then is expired; `undefined` where nobody has watched for so long. */
  expiry(ttl: number): number | undefined {
    const then = this.now() - ttl
    return then >= this.#begun ? then : undefined
  }

  /** Writes down what has happened. */
  write(events: readonly Event[], uses: readonly Use[]): void {
    this.#transaction(() => {
      for (const { fact, at } of events) {
        if (fact.kind === 'unlinked' || fact.kind === 'removed' || fact.kind === 'untagged')
          this.#gone?.add(keyOf(fact))
        else this.#gone?.delete(keyOf(fact))
        if (fact.kind === 'tagged' || fact.kind === 'stored') this.#changed?.add(keyOf(fact))
        this.#apply(fact, at, false)
      }
      for (const { repository, digest, used } of uses) this.#use(repository, digest, used)
      this.keepTime()
    })
  }

  /** Writes down what a survey has found, which is older than what was told meanwhile. */
  writeFound(facts: readonly Fact[]): void {
    this.#transaction(() => {
      const now = this.now()
      for (const fact of facts) {
        const key = keyOf(fact)
        if (this.#gone?.has(key) !== true && this.#changed?.has(key) !== true) this.#apply(fact, now, true)
      }
    })
  }

  /** The survey has ended: all is known. */
  complete(): void {
    this.#gone = undefined
    this.#changed = undefined
  }

  /** Forgets some uses of what is not linked any more. @returns where to go on; `undefined` at the end */
  prune(after: UsePlace | undefined): UsePlace | undefined {
    return this.#transaction(() => {
      const rows = this.#sql.usesAfter.all(after?.repository ?? '', after?.digest ?? '')
      const uses = rows.map(({ repository, digest, linked }) => ({
        repository: textIn(repository),
        digest: textIn(digest),
        isLinked: linked === 1,
      }))
      for (const { repository, digest, isLinked } of uses) if (!isLinked) this.#sql.forgetUse.run(repository, digest)
      return uses.at(-1)
    })
  }

  isLinked(target: Digest): boolean {
    return this.#sql.isLinked.get(target) !== undefined
  }

  /** As `Units.pick`. */
  pick(before: number): Unit | 'again' | undefined {
    return this.#units.pick(before)
  }

  /** Whether anything may go, sooner or later. */
  hasMore(): boolean {
    return this.#sql.oldest.get(Infinity) !== undefined
  }

  /** Lets a unit count as used now. */
  postpone({ repository, root }: Unit): void {
    this.#sql.rerank.run(this.now(), repository, root)
  }

  /** A blob that nothing has linked since then, or earlier. */
  findIdle(since: number): Digest | undefined {
    const row = this.#sql.idle.get(since)
    return row === undefined ? undefined : digestIn(row['target'])
  }

  postponeIdle(target: Digest): void {
    this.#sql.setIdle.run(this.now(), target)
  }

  /** To be called now and then: the next process goes on from there. */
  keepTime(): void {
    const { now, wall } = this.#clock.keep()
    this.#sql.keepClock.run(this.#begun, now, wall)
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }

  #apply(fact: Fact, now: number, isFound: boolean): void {
    switch (fact.kind) {
      case 'stored':
        return this.#stored(fact.target, fact.size, Math.min(fact.modified?.getTime() ?? now, now), now)
      case 'removed':
        return this.#removed(fact.target)
      case 'named':
        return this.#named(fact.repository, fact.target, fact.names, fact.subject)
      case 'linked':
        return this.#linked(fact, now, isFound)
      case 'unlinked':
        return this.#unlinked(fact.repository, fact.as, fact.digest, now)
      case 'tagged':
        return this.#tag(fact.repository, fact.tag, fact.digest)
      case 'untagged':
        return this.#tag(fact.repository, fact.tag, undefined)
    }
  }

  #stored(target: Digest, size: number, modified: number, now: number): void {
    const before = this.#sql.blob.get(target)
    const idle = this.isLinked(target) ? null : now
    this.#sql.setBlob.run(target, size, modified, idle)
    this.#size += size - Number(before?.['size'] ?? 0)
    if (before === undefined) this.#blobs++
  }

  #removed(target: Digest): void {
    const before = this.#sql.blob.get(target)
    if (before === undefined) return
    this.#sql.deleteBlob.run(target)
    this.#size -= Number(before['size'])
    this.#blobs--
  }

  #linked(link: Extract<Fact, { kind: 'linked' }>, now: number, isFound: boolean): void {
    const { repository, as, digest, target } = link
    this.#sql.setLink.run(repository, as, digest, target)
    if (isFound) {
      const modified = Number(this.#sql.blob.get(target)?.['modified'] ?? now)
      this.#sql.firstUse.run(repository, digest, Math.min(modified, now))
    } else this.#sql.setUse.run(repository, digest, now)
    this.#sql.setIdle.run(null, target)
    if (digest !== target) {
      this.#sql.renameNames.run(target, repository, digest)
      this.#sql.dropNames.run(repository, digest)
    }
    const isNew = this.#sql.addItem.run(repository, target).changes > 0
    this.#units.rerank(repository, target)
    if (isNew) for (const child of this.#units.namedBy(repository, target)) this.#units.rerank(repository, child)
  }

  #unlinked(repository: RepositoryName, kind: UnitLink['kind'], digest: Digest, now: number): void {
    const link = this.#sql.link.get(repository, kind, digest)
    if (link === undefined) return
    const target = digestIn(link['target'])
    this.#sql.deleteLink.run(repository, kind, digest)
    if (this.#sql.isLinkedAs.get(repository, digest) === undefined) this.#sql.forgetUse.run(repository, digest)
    if (this.#sql.linksTo.get(repository, target) !== undefined) return
    this.#sql.deleteItem.run(repository, target)
    const children = this.#units.namedBy(repository, target)
    this.#sql.deleteNames.run(repository, target)
    for (const child of children) this.#units.rerank(repository, child)
    if (!this.isLinked(target)) this.#sql.setIdle.run(now, target)
  }

  #named(repository: RepositoryName, manifest: Digest, names: readonly Digest[], subject: Digest | undefined): void {
    for (const name of names) {
      const target = this.#targetOf(repository, name)
      if (target !== manifest) this.#sql.setName.run(repository, manifest, target)
      this.#units.rerank(repository, target)
    }
    // A signature belongs to what it signs: they go together.
    if (subject !== undefined) this.#sql.setName.run(repository, this.#targetOf(repository, subject), manifest)
  }

  #tag(repository: RepositoryName, tag: Tag, digest: Digest | undefined): void {
    const before = this.#sql.tag.get(repository, tag)
    if (digest === undefined) this.#sql.deleteTag.run(repository, tag)
    else this.#sql.setTag.run(repository, tag, digest)
    if (!this.#options.pins.hasTag(repository, tag)) return
    const old = before === undefined ? undefined : digestIn(before['digest'])
    for (const other of [old, digest])
      if (other !== undefined) this.#units.rerank(repository, this.#targetOf(repository, other))
  }

  #use(repository: RepositoryName, digest: Digest, used: number): void {
    if (this.#sql.use.run(used, repository, digest).changes === 0) return // it is not linked any more
    this.#sql.rerank.run(used, repository, this.#targetOf(repository, digest))
  }

  /** The sha256 of a digest, as far as the repository's links say. */
  #targetOf(repository: RepositoryName, digest: Digest): Digest {
    if (digest.startsWith('sha256:')) return digest
    const link = this.#sql.isLinkedAs.get(repository, digest)
    return link === undefined ? digest : digestIn(link['target'])
  }

  #transaction<T>(task: () => T): T {
    this.#database.exec('BEGIN')
    try {
      const result = task()
      this.#database.exec('COMMIT')
      return result
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }
}

/** What a fact is about. */
function keyOf(fact: Fact): string {
  switch (fact.kind) {
    case 'stored':
    case 'removed':
      return fact.target
    case 'linked':
    case 'unlinked':
      return `${fact.repository}@${fact.as}@${fact.digest}`
    case 'named':
      return `${fact.repository}@names@${fact.target}`
    case 'tagged':
    case 'untagged':
      return `${fact.repository}:${fact.tag}`
  }
}
