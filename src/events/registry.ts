// A registry that tells what clients do with it: the actions and targets of distribution's notifications. What is done
// without a client's request is not told.
import type { RepositoryName } from '../oci/reference.ts'
import type { Registry, RepositoryOptions } from '../registry/registry.ts'
import type { Repository } from '../registry/source.ts'
import type { RemovableRepository, Upload, WritableRepository } from '../registry/store.ts'
import { ifReadable } from '../registry/unreadable-error.ts'
import { RequestNews, type NewsOptions } from './request-news.ts'

export function events(registry: Registry, options: NewsOptions): Registry {
  function told<Part>(
    part: Part,
    name: RepositoryName,
    call: RepositoryOptions | undefined,
    tell: (part: Part, news: RequestNews) => Part,
  ): Part {
    const { trace, namespace } = call ?? {}
    if (trace?.request === undefined) return part
    return tell(part, new RequestNews(options, { trace, request: trace.request }, { name, namespace }))
  }
  return {
    repository: (name, call) => told(registry.repository(name, call), name, call, telling),
    writable: (name, call) => told(registry.writable(name, call), name, call, tellingOfWrites),
    removable: (name, call) => told(registry.removable(name, call), name, call, tellingOfRemovals),
    place: (name, call) => registry.place(name, call),
    holderOf: (digest) => registry.holderOf(digest),
    list: (call) => registry.list(call),
  }
}

function telling({ name, blobs, manifests, tags, referrers }: Repository, news: RequestNews): Repository {
  return {
    name,
    referrers,
    blobs: {
      async stat(digest, call) {
        const descriptor = await blobs.stat(digest, call)
        news.blobPulled(descriptor)
        return descriptor
      },
      async open(digest, call) {
        const opened = await blobs.open(digest, call)
        if (opened.location === undefined) {
          return { ...opened, body: news.blobOpened(opened.descriptor, opened.body) }
        }
        news.blobPulled(opened.descriptor)
        return opened
      },
    },
    manifests: {
      async stat(digest, call) {
        const descriptor = await manifests.stat(digest, call)
        const whole = news.wantsBytes ? await ifReadable(manifests.get(digest, call)) : undefined
        news.manifestPulled(descriptor, whole?.bytes)
        return descriptor
      },
      async get(digest, call) {
        const manifest = await manifests.get(digest, call)
        news.manifestPulled(manifest.descriptor, manifest.bytes)
        return manifest
      },
    },
    tags: {
      async resolve(tag, call) {
        const descriptor = await tags.resolve(tag, call)
        news.tagged(tag)
        return descriptor
      },
      list: (call) => tags.list(call),
    },
  }
}

/** What is read here is looked up for a push. What is passed on is written out: these are objects of classes, which no spread copies. */
function tellingOfWrites(repository: WritableRepository, news: RequestNews): WritableRepository {
  const { name, blobs, manifests, tags, referrers, uploads } = repository
  return {
    name,
    referrers,
    blobs: {
      stat: async (...call) => await blobs.stat(...call),
      open: async (...call) => await blobs.open(...call),
      delete: async (...call) => await blobs.delete(...call),
      async put(bytes, call) {
        const descriptor = await blobs.put(bytes, call)
        news.blobPushed(descriptor)
        return descriptor
      },
      async link(digest, call) {
        const descriptor = await blobs.link(digest, call)
        news.blobMounted(descriptor, call?.from)
        return descriptor
      },
    },
    manifests: {
      stat: async (...call) => await manifests.stat(...call),
      get: async (...call) => await manifests.get(...call),
      delete: async (...call) => await manifests.delete(...call),
      list: (...call) => manifests.list(...call),
      async put(bytes, call) {
        const manifest = await manifests.put(bytes, call)
        news.manifestPushed(manifest)
        return manifest
      },
    },
    tags: {
      resolve: async (...call) => await tags.resolve(...call),
      find: async (...call) => await tags.find(...call),
      forget: async (...call) => await tags.forget(...call),
      delete: async (...call) => await tags.delete(...call),
      list: (...call) => tags.list(...call),
      pointingAt: (...call) => tags.pointingAt(...call),
      async put(tag, digest, call) {
        await tags.put(tag, digest, call)
        news.tagged(tag)
      },
    },
    uploads: {
      create: async (...call) => new TellingUpload(await uploads.create(...call), news),
      resume: async (...call) => new TellingUpload(await uploads.resume(...call), news),
    },
  }
}

function tellingOfRemovals({ blobs, manifests, tags }: RemovableRepository, news: RequestNews): RemovableRepository {
  return {
    blobs: {
      async delete(digest, call) {
        await blobs.delete(digest, call)
        news.deleted(digest)
      },
    },
    manifests: {
      async delete(digest, call) {
        await manifests.delete(digest, call)
        news.deleted(digest)
      },
    },
    tags: {
      find: async (...call) => await tags.find(...call),
      pointingAt: (...call) => tags.pointingAt(...call),
      async delete(tag, call) {
        const wasThere = await tags.delete(tag, call)
        if (wasThere) news.untagged(tag)
        return wasThere
      },
    },
  }
}

class TellingUpload implements Upload {
  readonly #upload: Upload
  readonly #news: RequestNews

  constructor(upload: Upload, news: RequestNews) {
    this.#upload = upload
    this.#news = news
  }

  get id(): Upload['id'] {
    return this.#upload.id
  }

  get startedAt(): Date {
    return this.#upload.startedAt
  }

  get size(): number {
    return this.#upload.size
  }

  async append(...call: Parameters<Upload['append']>): Promise<void> {
    await this.#upload.append(...call)
  }

  async open(...call: Parameters<Upload['open']>): ReturnType<Upload['open']> {
    return await this.#upload.open(...call)
  }

  async verify(...call: Parameters<Upload['verify']>): Promise<void> {
    await this.#upload.verify(...call)
  }

  async commit(...call: Parameters<Upload['commit']>): ReturnType<Upload['commit']> {
    const descriptor = await this.#upload.commit(...call)
    this.#news.blobPushed(descriptor)
    return descriptor
  }

  async close(): Promise<void> {
    await this.#upload.close()
  }

  async abort(): Promise<void> {
    await this.#upload.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#upload[Symbol.asyncDispose]()
  }
}
