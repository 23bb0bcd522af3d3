// A repository of an upstream, with a short memory for what the upstream does not have. What is here is never refused by
// memory, and whatever is stored or taken away clears it.
import type { Digest } from '../oci/digest.ts'
import { ifPresent } from '../oci/error.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { Repository } from '../registry/source.ts'
import type { RemovableRepository, WritableRepository } from '../registry/store.ts'
import type { NegativeAnswers } from './negative-answers.ts'

/** What clients ask of `repository`, which is kept in `local`. */
export function remembering(repository: Repository, local: WritableRepository, answers: NegativeAnswers): Repository {
  const { blobs, manifests, tags } = repository
  const ask = async <T>(what: string, find: () => Promise<unknown>, question: () => Promise<T>): Promise<T> => {
    const known = answers.find(local.name, what)
    if (known !== undefined && (await ifPresent(find())) === undefined) throw known
    try {
      return await question()
    } catch (error) {
      answers.add(local.name, what, error)
      throw error
    }
  }
  const askBlob = async <T>(digest: Digest, question: () => Promise<T>): Promise<T> =>
    await ask(`blobs/${digest}`, () => local.blobs.stat(digest), question)
  const askManifest = async <T>(digest: Digest, question: () => Promise<T>): Promise<T> =>
    await ask(`manifests/${digest}`, () => local.manifests.stat(digest), question)
  const askTag = async <T>(tag: Tag, question: () => Promise<T>): Promise<T> =>
    await ask(`manifests/${tag}`, () => local.tags.resolve(tag), question)
  return {
    ...repository,
    blobs: {
      stat: async (digest, options) => await askBlob(digest, () => blobs.stat(digest, options)),
      open: async (digest, options) => await askBlob(digest, () => blobs.open(digest, options)),
    },
    manifests: {
      stat: async (digest, options) => await askManifest(digest, () => manifests.stat(digest, options)),
      get: async (digest, options) => await askManifest(digest, () => manifests.get(digest, options)),
    },
    tags: {
      resolve: async (tag, options) => await askTag(tag, () => tags.resolve(tag, options)),
      list: (options) => tags.list(options),
    },
  }
}

/** The local repository, whose memory ends with whatever becomes visible in it. */
export function clearedByStoring(local: WritableRepository, answers: NegativeAnswers): WritableRepository {
  const { blobs, manifests } = local
  return {
    ...local,
    blobs: {
      stat: async (...call) => await blobs.stat(...call),
      open: async (...call) => await blobs.open(...call),
      put: async (...call) => await cleared(local.name, answers, blobs.put(...call)),
      link: async (...call) => await cleared(local.name, answers, blobs.link(...call)),
      delete: async (...call) => await blobs.delete(...call),
    },
    manifests: {
      stat: async (...call) => await manifests.stat(...call),
      get: async (...call) => await manifests.get(...call),
      put: async (...call) => await cleared(local.name, answers, manifests.put(...call)),
      list: (...call) => manifests.list(...call),
      delete: async (...call) => await manifests.delete(...call),
    },
  }
}

/** The local repository, to delete from: what was purged is to be asked for anew. */
export function clearedByRemoving(
  { blobs, manifests, tags }: RemovableRepository,
  name: RepositoryName,
  answers: NegativeAnswers,
): RemovableRepository {
  return {
    blobs: { delete: async (...call) => await cleared(name, answers, blobs.delete(...call)) },
    manifests: { delete: async (...call) => await cleared(name, answers, manifests.delete(...call)) },
    tags: {
      delete: async (...call) => await cleared(name, answers, tags.delete(...call)),
      find: async (...call) => await tags.find(...call),
      pointingAt: (...call) => tags.pointingAt(...call),
    },
  }
}

async function cleared<T>(name: RepositoryName, answers: NegativeAnswers, change: Promise<T>): Promise<T> {
  const result = await change
  answers.clear(name)
  return result
}
