// Events that wait for their endpoints, in a file of node:sqlite: what was published is there after a kill, what has been
// delivered goes one by one, and a torn tail is SQLite's care. Segments of our own would need all three written anew. The
// file may be thrown away: that loses events, nothing else.
import { closeSync, existsSync, openSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { makeFolderSync } from '../bytes/folder.ts'

/** Another one is thrown away. */
const version = 1

/** A process has a file alone: that many may share a folder. */
const maxFiles = 32

/** The system keeps what was written when the process is killed; a power cut may cost the last events, or the file. */
const settings = `
  PRAGMA auto_vacuum = FULL;
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = OFF;
  PRAGMA journal_size_limit = 4194304;
  PRAGMA cache_size = -1024;
`

const schema = `
  CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS events_endpoint ON events (endpoint, sequence);
  PRAGMA user_version = ${version};
`

export interface QueuedEvent {
  readonly endpoint: string
  readonly kind: string
  readonly body: string
}

export interface NumberedEvent extends QueuedEvent {
  /** Higher than that of every event before. */
  readonly sequence: number
}

export interface Pending {
  readonly events: number
  /** Of their bodies. */
  readonly bytes: number
}

interface OpenedFile {
  readonly database: DatabaseSync
  readonly damage: unknown
}

/** Every call is short, and throws what node:sqlite does. */
export class EventQueue implements Disposable {
  /** Files in the folder that nobody can open here, as they are another user's, and why; they stay as they are. */
  readonly unopened: ReadonlyMap<string, unknown>
  #damage: unknown
  readonly #database: DatabaseSync
  readonly #insert: StatementSync
  readonly #next: StatementSync
  readonly #delete: StatementSync

  private constructor({ database, damage }: OpenedFile, unopened: ReadonlyMap<string, unknown> = new Map()) {
    this.unopened = unopened
    this.#damage = damage
    this.#database = database
    this.#insert = database.prepare('INSERT INTO events (endpoint, kind, body) VALUES (?, ?, ?)')
    this.#next = database.prepare(
      'SELECT sequence, endpoint, kind, body FROM events WHERE endpoint = ? AND sequence > ? ORDER BY sequence LIMIT 1',
    )
    this.#delete = database.prepare('DELETE FROM events WHERE endpoint = ? AND sequence <= ?')
  }

  static inMemory(): EventQueue {
    return new EventQueue({ database: openFile(':memory:'), damage: undefined })
  }

  /**
   * Takes a file that no other process has, with all that it holds and what dead processes have left in others. What is no
   * queue is thrown away.
   * @throws what node:sqlite and the file system throw where no file can be made
   */
  static open(folder: string): EventQueue {
    makeFolderSync(folder, 0o750)
    const unopened = new Map<string, unknown>()
    const tryOpen = (slot: number): OpenedFile | undefined => {
      const path = join(folder, nameOf(slot))
      const isThere = existsSync(path)
      try {
        return openSlot(folder, slot)
      } catch (error) {
        if (!isThere || ![undefined, 14].includes(codeOf(error))) throw error // with another file it would be the same
        unopened.set(path, error)
        return undefined
      }
    }
    for (let slot = 0; slot < maxFiles; slot += 1) {
      const opened = tryOpen(slot)
      if (opened === undefined) continue
      try {
        const queue = new EventQueue(opened, unopened)
        for (const other of slotsIn(folder)) {
          const left = other === slot ? undefined : tryOpen(other)
          if (left !== undefined) queue.#adopt(folder, other, left)
        }
        return queue
      } catch (error) {
        opened.database.close()
        throw error
      }
    }
    throw new Error(`the ${maxFiles} queues that this folder may hold are in use, or cannot be opened`)
  }

  /** What was wrong with a file that was there before; it was thrown away. */
  get damage(): unknown {
    return this.#damage
  }

  /** All of them or none. */
  add(events: readonly QueuedEvent[]): void {
    this.#database.exec('BEGIN')
    try {
      for (const { endpoint, kind, body } of events) this.#insert.run(endpoint, kind, body)
      this.#database.exec('COMMIT')
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  /** The oldest behind `sequence`. */
  next(endpoint: string, sequence: number): NumberedEvent | undefined {
    const row = this.#next.get(endpoint, sequence)
    if (row === undefined) return undefined
    return { sequence: Number(row['sequence']), endpoint, kind: String(row['kind']), body: String(row['body']) }
  }

  /** With all before it. */
  remove(endpoint: string, sequence: number): void {
    this.#delete.run(endpoint, sequence)
  }

  pending(endpoint: string): Pending {
    const row = this.#database
      .prepare('SELECT count(*) AS events, sum(length(CAST(body AS BLOB))) AS bytes FROM events WHERE endpoint = ?')
      .get(endpoint)
    return { events: Number(row?.['events']), bytes: Number(row?.['bytes']) }
  }

  /** Forgets what waits for any other endpoint. @returns how many events that were */
  keepOnly(endpoints: readonly string[]): number {
    const places = endpoints.map(() => '?').join()
    return Number(
      this.#database.prepare(`DELETE FROM events WHERE endpoint NOT IN (${places})`).run(...endpoints).changes,
    )
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }

  /** Takes over what is in a file that no living process has. */
  #adopt(folder: string, slot: number, { database: left, damage }: OpenedFile): void {
    this.#damage ??= damage
    try {
      const rows = left.prepare('SELECT endpoint, kind, body FROM events ORDER BY sequence').iterate()
      this.add(
        Array.from(rows, ({ endpoint, kind, body }) => {
          return { endpoint: String(endpoint), kind: String(kind), body: String(body) }
        }),
      )
      removeFiles(folder, slot) // while it is locked
    } finally {
      left.close()
    }
  }
}

/** Whether what is in the file is to blame, rather than where it lies. */
export function isDamage(error: unknown): boolean {
  const code = codeOf(error)
  return error instanceof QueueDamageError || code === 11 || code === 26
}

class QueueDamageError extends Error {
  override readonly name = 'QueueDamageError'
}

/** SQLite's own, without what it adds in the higher bits. */
function codeOf(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined
}

function nameOf(slot: number): string {
  return `queue-${slot}.sqlite`
}

function slotsIn(folder: string): number[] {
  return readdirSync(folder).flatMap((name) => {
    const [, slot] = /^queue-(\d{1,2})\.sqlite$/.exec(name) ?? []
    return slot === undefined ? [] : [Number(slot)]
  })
}

/** `undefined`: another process has it. */
function openSlot(folder: string, slot: number): OpenedFile | undefined {
  const path = join(folder, nameOf(slot))
  try {
    return { database: openFile(path), damage: undefined }
  } catch (damage) {
    if (codeOf(damage) === 5) return undefined
    if (!isDamage(damage)) throw damage
    removeFiles(folder, slot)
    return { database: openFile(path), damage }
  }
}

function openFile(path: string): DatabaseSync {
  // Names of repositories are not for everybody; SQLite would make it so. What it puts beside a file is as private.
  if (path !== ':memory:') closeSync(openSync(path, 'a', 0o640))
  const database = new DatabaseSync(path)
  try {
    database.exec(settings)
    database.exec('BEGIN EXCLUSIVE')
    const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
    if (found !== 0 && found !== version) throw new QueueDamageError(`version ${found} of a queue is not understood`)
    database.exec(schema)
    database.prepare('SELECT sequence, endpoint, kind, body FROM events LIMIT 1').get()
    // Better now than when what lies behind it is to be delivered, and at every start from then on.
    const state = database.prepare('PRAGMA quick_check(1)').get()?.['quick_check']
    if (state !== 'ok') throw new QueueDamageError(String(state))
    database.exec('COMMIT')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function removeFiles(folder: string, slot: number): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    rmSync(join(folder, nameOf(slot) + suffix), { recursive: true, force: true })
  }
}
