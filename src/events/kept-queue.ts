// A queue that is always there: in its file, or in memory where no file can be had. It never fails a reader.
import type { Logger } from '../telemetry/logger.ts'
import { EventQueue, isDamage, type NumberedEvent, type Pending, type QueuedEvent } from './queue.ts'

export interface KeptQueueOptions {
  /** `undefined`: in memory. */
  readonly folder: string | undefined
  /** Whose events are kept. */
  readonly endpoints: readonly string[]
  /** Called when the file had to be thrown away, with all that waited in it. */
  readonly onRenewed: () => void
  readonly logger: Logger
}

export class KeptQueue implements Disposable {
  readonly #options: KeptQueueOptions
  #queue: EventQueue
  #isInMemory = false
  /** Whether what was delivered stays in the file for now. */
  #isStuck = false

  constructor(options: KeptQueueOptions) {
    this.#options = options
    this.#queue = this.#open()
    const { damage, unopened } = this.#queue
    for (const [path, error] of unopened) {
      options.logger.warn({ path, error }, 'a file of events cannot be opened: it is passed over')
    }
    if (damage !== undefined) options.logger.warn({ error: damage }, 'damaged queue of events thrown away')
    const forgotten = this.#read((queue) => queue.keepOnly(options.endpoints))
    if (forgotten > 0) options.logger.info({ events: forgotten }, 'events of endpoints that are no more are forgotten')
  }

  get isInMemory(): boolean {
    return this.#isInMemory
  }

  /** @throws what node:sqlite does, where there is no room for them */
  add(events: readonly QueuedEvent[]): void {
    try {
      this.#queue.add(events)
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#renew(error)
      this.#queue.add(events)
    }
  }

  next(endpoint: string, sequence: number): NumberedEvent | undefined {
    return this.#read((queue) => queue.next(endpoint, sequence))
  }

  pending(endpoint: string): Pending {
    return this.#read((queue) => queue.pending(endpoint))
  }

  /** A full disk may not let go of it: then it goes with a later one, or is delivered again by the next process. */
  remove(endpoint: string, sequence: number): void {
    try {
      this.#queue.remove(endpoint, sequence)
      this.#isStuck = false
    } catch (error) {
      if (!this.#isStuck) this.#options.logger.warn({ error }, 'delivered events cannot be taken out of their queue')
      this.#isStuck = true
    }
  }

  [Symbol.dispose](): void {
    this.#queue[Symbol.dispose]()
  }

  #read<T>(question: (queue: EventQueue) => T): T {
    try {
      return question(this.#queue)
    } catch (error) {
      this.#renew(error)
      return question(this.#queue)
    }
  }

  #renew(error: unknown): void {
    const { logger, onRenewed } = this.#options
    logger.warn({ error }, 'the queue of events cannot be read: it is made again in memory')
    this.#queue[Symbol.dispose]()
    this.#queue = EventQueue.inMemory()
    this.#isInMemory = true
    onRenewed()
  }

  #open(): EventQueue {
    const { folder, logger } = this.#options
    try {
      if (folder !== undefined) return EventQueue.open(folder)
    } catch (error) {
      logger.warn({ error }, 'the queue of events is kept in memory')
    }
    this.#isInMemory = true
    return EventQueue.inMemory()
  }
}
