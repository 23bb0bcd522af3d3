// An upstream and its mirrors as one: places that hold the same repositories under the same names. They are asked where
// the upstream itself does not answer: for a digest any of them, for what a name means only those that are trusted with it.
import { isAbsence, RegistryError } from '../oci/error.ts'
import type { Tag } from '../oci/reference.ts'
import type { ListOptions } from '../registry/source.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { FetchOptions, UpstreamRepository, UpstreamSource } from '../registry/upstream-source.ts'
import type { Logger } from '../telemetry/logger.ts'

export interface Mirror {
  readonly source: UpstreamSource
  /** Whether it may say what a tag points at, what a manifest's referrers are, and who has a right to a blob. */
  readonly trusted: boolean
}

/** A repository at one place. */
interface Place {
  readonly repository: UpstreamRepository
  /** The upstream's own word is final, but where it gives none. */
  readonly isMain: boolean
  readonly isTrusted: boolean
}

/**
 * What the upstream says counts, a no as well: a mirror gives nobody more rights, and is believed only where it has the
 * thing. Where nobody has it, the upstream's own error is thrown. All sources stay the caller's to dispose of.
 */
export function mirrored(main: UpstreamSource, mirrors: readonly Mirror[], logger: Logger): UpstreamSource {
  return {
    repository(name) {
      const own = { repository: main.repository(name), isMain: true, isTrusted: true }
      const others = mirrors.map(({ source, trusted }): Place => {
        return { repository: source.repository(name), isMain: false, isTrusted: trusted }
      })
      const byDigest = [own, ...others]
      const byName = byDigest.filter(({ isTrusted }) => isTrusted)
      return {
        name,
        blobs: {
          // That a repository has a blob is a right to it: nobody can prove that by a digest.
          stat: async (digest, options) =>
            await ask(byName, logger, async ({ blobs }) => await blobs.stat(digest, options)),
          fetch: async (digest, options) => {
            const order = rotated(own, others, options)
            return await ask(order, logger, async ({ blobs }) => await blobs.fetch(digest, options))
          },
        },
        manifests: {
          stat: async (digest, options) =>
            await ask(byDigest, logger, async ({ manifests }, { isTrusted }) => {
              return isTrusted
                ? await manifests.stat(digest, options)
                : (await manifests.get(digest, options)).descriptor
            }),
          get: async (digest, options) =>
            await ask(byDigest, logger, async ({ manifests }) => await manifests.get(digest, options)),
        },
        tags: {
          find: async (tag, options) => await ask(byName, logger, async ({ tags }) => await tags.find(tag, options)),
          get: async (tag, options) => await ask(byName, logger, async ({ tags }) => await tags.get(tag, options)),
          resolve: async (tag, options) =>
            await ask(byName, logger, async ({ tags }) => await tags.resolve(tag, options)),
          list: (options) => list(byName, logger, options),
        },
        referrers: {
          find: async (subject, options) =>
            await ask(byName, logger, async ({ referrers }, { isMain }) => {
              const found = await referrers.find(subject, options)
              if (found !== undefined || isMain) return found
              throw new RegistryError('MANIFEST_UNKNOWN', `no referrers of ${subject}: there is no API for them`)
            }),
        },
      }
    },
    condition() {
      const { isReachable, pullsLeft } = main.condition()
      return { isReachable: isReachable || mirrors.some(answersByName), pullsLeft }
    },
  }
}

function answersByName({ source, trusted }: Mirror): boolean {
  return trusted && source.condition().isReachable
}

/** Another place first with each attempt; the upstream itself is first or last. */
function rotated(own: Place, others: readonly Place[], options: FetchOptions | undefined): readonly Place[] {
  const first = (options?.attempt ?? 0) % (others.length + 1)
  return first === 0 ? [own, ...others] : [...others.slice(first - 1), ...others.slice(0, first - 1), own]
}

/** Asks one place after the other, until one has an answer. The upstream itself is among them. */
async function ask<T>(
  places: readonly Place[],
  logger: Logger,
  question: (repository: UpstreamRepository, place: Place) => Promise<T>,
): Promise<T> {
  let failure: unknown
  for (const place of places) {
    try {
      return await question(place.repository, place)
    } catch (error) {
      if (!leavesHope(error, place)) throw error
      if (place.isMain) failure = error
      else logger.debug({ repository: place.repository.name, error }, 'a mirror was no help')
    }
  }
  throw failure
}

/** The same of a list. One that breaks off is not continued from another place, which may hold another one. */
async function* list(
  places: readonly Place[],
  logger: Logger,
  options: ListOptions | undefined,
): AsyncGenerator<Tag, void> {
  const tags = await ask(places, logger, async (repository) => await begin(repository.tags.list(options)))
  yield* tags
}

/** A list whose first entry is here, or the certainty that there is none. */
async function begin(tags: AsyncIterable<Tag>): Promise<AsyncIterable<Tag>> {
  const iterator = tags[Symbol.asyncIterator]()
  const first = await iterator.next()
  return (async function* (): AsyncGenerator<Tag, void> {
    try {
      for (let next = first; next.done !== true; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  })()
}

/** Whether another place may be asked. A mirror that has not got the thing, or will not give it, says nothing about it. */
function leavesHope(error: unknown, { isMain }: Place): boolean {
  if (!isMain) return isAbsence(error) || error instanceof UpstreamError
  return error instanceof UpstreamError && error.failure !== 'denied' && error.failure !== 'credentials-refused'
}
