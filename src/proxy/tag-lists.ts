// Whole lists of an upstream's tags, kept for a moment: who pages through one costs the upstream one listing.
import { LRUCache } from 'lru-cache'
import { Coalescer } from '../async/coalesce.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import { noteFrom, type CallOptions } from '../registry/call.ts'

const maxNames = 1_000_000
const maxLists = 1000

/** Milliseconds for which a list is kept, whatever the freshness of its upstream: tags come and go unseen meanwhile. */
const maxAge = 60_000

interface TagList {
  /** In byte order. */
  readonly tags: readonly Tag[]
  /** Milliseconds since 1970. */
  readonly listedAt: number
}

export interface TagListsOptions {
  /** Milliseconds since 1970; for tests. */
  readonly now?: (() => number) | undefined
  /** Names that are kept in all; a longer list is used once. A million. */
  readonly limit?: number | undefined
}

export interface ListQuestion {
  /** The name that it has here. */
  readonly repository: RepositoryName
  /** Milliseconds for which an answer of the upstream counts as fresh. */
  readonly freshness: number
  /** All tags, in byte order. */
  readonly ask: () => AsyncIterable<Tag>
}

/** Those of every repository. */
export class TagLists {
  readonly #now: () => number
  readonly #requests = new Coalescer<readonly Tag[]>()
  readonly #kept: LRUCache<RepositoryName, TagList>

  constructor({ now = Date.now, limit = maxNames }: TagListsOptions = {}) {
    this.#now = now
    const sizeCalculation = ({ tags }: TagList): number => Math.max(1, tags.length)
    this.#kept = new LRUCache({ max: maxLists, maxSize: limit, sizeCalculation })
  }

  /** The tags behind `after`. @throws what `ask` fails with, before the first tag */
  async *list(question: ListQuestion, after: string | undefined, options?: CallOptions): AsyncGenerator<Tag, void> {
    const tags = await this.#find(question, options)
    for (let at = after === undefined ? 0 : indexBehind(tags, after); at < tags.length; at++) {
      const tag = tags[at]
      if (tag !== undefined) yield tag
    }
  }

  /** Waits until what runs now has ended, well or not. */
  async settled(): Promise<void> {
    await this.#requests.settled()
  }

  async #find({ repository, freshness, ask }: ListQuestion, options: CallOptions | undefined): Promise<readonly Tag[]> {
    const kept = this.#kept.get(repository)
    const age = kept === undefined ? Infinity : this.#now() - kept.listedAt
    if (kept !== undefined && age >= 0 && age < Math.min(freshness, maxAge)) return kept.tags
    noteFrom(options?.trace, 'upstream')
    const read = async (): Promise<readonly Tag[]> => {
      const tags = await Array.fromAsync(ask())
      if (freshness > 0) this.#kept.set(repository, { tags, listedAt: this.#now() })
      return tags
    }
    return await this.#requests.run(repository, read, options?.signal)
  }
}

/** Where in sorted tags those begin that are behind `after`. */
function indexBehind(tags: readonly Tag[], after: string): number {
  let low = 0
  let high = tags.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((tags[middle] ?? '') <= after) low = middle + 1
    else high = middle
  }
  return low
}
