// Reading all that is stored, slowly and again and again: what rots is found before somebody pulls it (P6).
import { setTimeout as delay } from 'node:timers/promises'
import { PathNotFoundError, type OpenFile, type StorageDriver } from '../drivers/driver.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import { UnreadableError } from '../registry/unreadable-error.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { BlobReader } from './blob-reader.ts'
import { scrubPath } from './layout.ts'
import { walkBlobs } from './stored-blobs.ts'

/** In milliseconds; time is that of the clock on the wall, as it is written down and read by the next process. */
export interface ScrubClock {
  now(): number
  /** @throws the reason of `signal` where it fires first */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export interface ScrubOptions {
  /** Milliseconds from the beginning of a cycle to that of the next. */
  readonly interval: number
  /** Bytes a second. */
  readonly rate: number
  readonly clock?: ScrubClock | undefined
}

export interface ScrubRoom {
  readonly driver: StorageDriver
  readonly reader: Pick<BlobReader, 'check'>
  readonly logger: Logger
}

/** How far a cycle has come; kept beside the tree. */
interface Cycle {
  readonly startedAt: number
  readonly isOver: boolean
  /** The last blob that was looked at. */
  readonly after: Digest | undefined
  readonly blobs: number
  readonly bytes: number
  readonly damaged: number
  readonly unreadable: number
}

/** What a small blob counts as: opening a file costs too. */
const leastCost = 64 * 1024

/** A process that has just started has other things to read; replicas on one storage need not all begin at once. */
const leastStart = 60_000
const mostStart = 10 * 60_000

const saveInterval = 60_000
const retryInterval = 3_600_000
const longestSleep = 2 ** 31 - 1
const maxCycleSize = 4096

const wallClock: ScrubClock = {
  now: Date.now,
  sleep: async (ms, signal) => await delay(Math.min(ms, longestSleep), undefined, { ref: false, signal }),
}

/** Scrubs until it is disposed; disposing waits until it is written down how far it has come. */
export class Scrubber implements AsyncDisposable {
  readonly #options: ScrubOptions
  readonly #room: ScrubRoom
  readonly #clock: ScrubClock
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  /** The newest; it counts also where it could not be written down. */
  #cycle: Cycle | undefined
  /** When all that was read until now is paid for. */
  #paidAt = 0

  constructor(options: ScrubOptions, room: ScrubRoom) {
    this.#options = options
    this.#room = room
    this.#clock = options.clock ?? wallClock
    this.#running = this.#run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  /** Never fails: it is stopped, or tries again. */
  async #run(): Promise<void> {
    const { signal } = this.#stop
    let pause = leastStart + Math.random() * (mostStart - leastStart)
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(pause, signal)
        const last = (this.#cycle ??= await this.#load())
        const now = this.#clock.now()
        const age = last === undefined ? Infinity : now - last.startedAt
        const waited = age < 0 ? Infinity : age // a clock that was set back since says nothing of it
        pause = last?.isOver === true ? Math.max(0, this.#options.interval - waited) : 0
        if (pause > 0) continue
        await this.#scrub(last === undefined || last.isOver ? begun(now) : last)
      } catch (error) {
        if (signal.aborted) return
        this.#room.logger.warn({ error }, 'storage could not be scrubbed')
        pause = retryInterval
      }
    }
  }

  /** Goes on with a cycle to its end. */
  async #scrub(from: Cycle): Promise<void> {
    const { driver, logger } = this.#room
    const { signal } = this.#stop
    let cycle = from
    let savedAt = this.#clock.now()
    try {
      const onFailure = (path: string, error: unknown): void =>
        logger.warn({ path, error }, 'folder cannot be scrubbed')
      for await (const digest of walkBlobs(driver, { after: from.after, onFailure, signal })) {
        cycle = await this.#look(digest, cycle)
        if (this.#clock.now() - savedAt < saveInterval) continue
        await this.#save(cycle)
        savedAt = this.#clock.now()
      }
      cycle = { ...cycle, isOver: true, after: undefined }
    } finally {
      await this.#save(cycle)
    }
    const { startedAt, blobs, bytes, damaged, unreadable } = cycle
    const ms = this.#clock.now() - startedAt
    logger.info({ blobs, bytes, damaged, unreadable, ms }, 'storage scrubbed')
  }

  async #look(digest: Digest, cycle: Cycle): Promise<Cycle> {
    const { reader } = this.#room
    const seen = { ...cycle, after: digest, blobs: cycle.blobs + 1 }
    try {
      const found = await reader.check(digest, (file) => this.#slowly(file))
      if (found === undefined) return { ...cycle, after: digest }
      const bytes = cycle.bytes + found.size
      return found.isRight ? { ...seen, bytes } : { ...seen, bytes, damaged: cycle.damaged + 1 }
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error
      return { ...seen, unreadable: cycle.unreadable + 1 }
    }
  }

  async *#slowly(file: OpenFile): AsyncGenerator<Uint8Array, void> {
    let read = 0
    for await (const chunk of file) {
      yield chunk
      read += chunk.byteLength
      await this.#pay(chunk.byteLength)
    }
    if (read < leastCost) await this.#pay(leastCost - read)
  }

  async #pay(bytes: number): Promise<void> {
    const now = this.#clock.now()
    this.#paidAt = Math.max(this.#paidAt, now) + (bytes / this.#options.rate) * 1000
    await this.#clock.sleep(this.#paidAt - now, this.#stop.signal)
  }

  /** `undefined` where none was begun, or what was written down is damaged. */
  async #load(): Promise<Cycle | undefined> {
    try {
      return parseCycle((await this.#room.driver.read(scrubPath, maxCycleSize)).toString())
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) this.#room.logger.warn({ error }, 'a new scrub begins')
      return undefined
    }
  }

  /** Where it cannot be written down, the next process begins anew. */
  async #save(cycle: Cycle): Promise<void> {
    const { driver, logger } = this.#room
    this.#cycle = cycle
    try {
      await driver.write(scrubPath, Buffer.from(JSON.stringify(cycle)))
    } catch (error) {
      logger.warn({ error }, 'how far the scrub has come cannot be written down')
    }
  }
}

function begun(now: number): Cycle {
  return { startedAt: now, isOver: false, after: undefined, blobs: 0, bytes: 0, damaged: 0, unreadable: 0 }
}

function parseCycle(text: string): Cycle | undefined {
  const fields = new Map<string, unknown>(Object.entries(parseObject(text)))
  const numberIn = (name: string): number | undefined => {
    const value = fields.get(name)
    return typeof value === 'number' && value >= 0 ? value : undefined
  }
  const after = fields.get('after')
  const startedAt = numberIn('startedAt')
  if (startedAt === undefined) return undefined
  return {
    startedAt,
    isOver: fields.get('isOver') === true,
    after: typeof after === 'string' && isDigest(after) ? after : undefined,
    blobs: numberIn('blobs') ?? 0,
    bytes: numberIn('bytes') ?? 0,
    damaged: numberIn('damaged') ?? 0,
    unreadable: numberIn('unreadable') ?? 0,
  }
}

/** Empty where the text is no object. */
function parseObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
