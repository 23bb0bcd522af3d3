// What goes in one round, and in which order: each step that is cut short leaves a store without a link to what is gone.
import { setImmediate } from 'node:timers/promises'
import type { Digest } from '../oci/digest.ts'
import { isAbsence } from '../oci/error.ts'
import type { CacheLog } from '../registry/cache-log.ts'
import type { EvictableStore } from '../registry/usage.ts'
import { Failures } from './failures.ts'
import type { Ledger } from './ledger.ts'
import type { UsageRecorder } from './recorder.ts'
import type { Unit } from './units.ts'

/** How long a blob that nothing links is left alone, in milliseconds: somebody may be about to link it. */
const idleTime = 60 * 60_000

export interface Tally {
  images: number
  blobs: number
  bytes: number
}

export interface RemovalOptions {
  readonly store: EvictableStore
  readonly recorder: UsageRecorder
  readonly ledger: Ledger
  /** Who is told what goes. */
  readonly cacheLog: CacheLog | undefined
  /** Whether nothing more is to go. */
  readonly isResting: () => boolean
  /** Throws where we are to stop, or the ledger does not hear what happens any more. */
  readonly check: () => void
  /** What has gone is added to each. */
  readonly tallies: readonly Tally[]
}

export class Removal {
  readonly #options: RemovalOptions

  constructor(options: RemovalOptions) {
    this.#options = options
  }

  /** Takes away what nothing links: what a killed process has left, and what was in use when its last link went. */
  async freeIdle(): Promise<Failures> {
    const { ledger, isResting, check } = this.#options
    const since = ledger.now() - idleTime
    const failures = new Failures()
    for (let target = ledger.findIdle(since); target !== undefined; target = ledger.findIdle(since)) {
      check()
      if (isResting() || failures.areTooMany) return failures
      ledger.postponeIdle(target)
      const blob = target
      await failures.keep(blob, async () => await this.#free(blob))
      await setImmediate()
    }
    return failures
  }

  /** Takes away units that were last used `before` or earlier, the oldest first, as long as `isWanted`. */
  async evict(before: number, isWanted: () => boolean, failures: Failures): Promise<void> {
    const { store, recorder, ledger, isResting, check } = this.#options
    while (isWanted() && !isResting() && !failures.areTooMany) {
      recorder.flush()
      check()
      const unit = ledger.pick(before)
      if (unit === undefined) return
      if (unit !== 'again') {
        ledger.postpone(unit) // in use, or cannot be removed, or is back again before we look
        const what = `${unit.root} of ${unit.repository}`
        if (!unit.targets.some((target) => store.isInUse(target)))
          await failures.keep(what, async () => await this.#remove(unit))
      }
      await setImmediate()
    }
  }

  async #remove(unit: Unit): Promise<void> {
    await this.#unlink(unit)
    for (const target of unit.targets) await this.#free(target)
  }

  /** Backwards to how it came: whatever is cut short leaves nothing that refers to what is gone. */
  async #unlink({ repository: name, links, tags }: Unit): Promise<void> {
    const { store, recorder, cacheLog, isResting, tallies } = this.#options
    const repository = store.discardable(name)
    for (const { tag, digest } of tags) {
      if (isResting()) return
      await repository.tags.delete(tag, { onlyIf: digest }) // it may be moved meanwhile
    }
    for (const { kind, digest } of links) {
      if (isResting()) return
      const wasThere = await isThere(repository[kind].delete(digest))
      if (!wasThere) recorder.note({ kind: 'unlinked', repository: name, as: kind, digest })
      else {
        cacheLog?.note({ action: 'evicted', repository: name, digest })
        if (kind === 'manifests') for (const tally of tallies) tally.images++
      }
    }
  }

  async #free(target: Digest): Promise<void> {
    const { store, recorder, ledger, isResting, tallies } = this.#options
    const bytes = await store.free(target, () => {
      recorder.flush()
      return isResting() || !recorder.isReading(ledger) || ledger.isLinked(target)
    })
    recorder.flush()
    if (bytes === undefined) return
    for (const tally of tallies) {
      tally.blobs++
      tally.bytes += bytes
    }
  }
}

/** Whether there was what was to be taken away. */
async function isThere(removal: Promise<unknown>): Promise<boolean> {
  try {
    await removal
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}
