// An upstream for tests: our own registry in memory, behind a dial for faults. Real sockets, real HTTP.
import { randomBytes } from 'node:crypto'
import { waitFor } from '../../src/async/wait.ts'
import { api } from '../../src/api/api.ts'
import type { ByteStream } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import type { Reply, Request } from '../../src/http/exchange.ts'
import { listen } from '../../src/http/listener.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { apiOptions } from './api-options.ts'

/** What happens to a request instead of, or on top of, the right answer. */
export interface Fault {
  /** Nothing is answered before this settles. */
  readonly wait?: Promise<void>
  /** Answered instead. */
  readonly reply?: Reply
  /** The right answer's headers with other ones on top; `undefined` takes one away. */
  readonly headers?: Record<string, string | undefined>
  /** The right answer's body, tampered with. */
  readonly body?: (body: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array, void>
}

export interface Image {
  readonly manifest: Digest
  readonly layers: readonly Digest[]
  readonly config: Digest
}

export interface Origin extends AsyncDisposable {
  readonly url: string
  /** Every request, as `METHOD path`, in the order they came. */
  readonly seen: string[]
  /** Body bytes sent in answer to a path. */
  bytesSent(path: string): number
  /** Decides about each request; set it to make faults. */
  dial: (request: Request) => Fault | undefined
  addBlob(repository: string, bytes: Uint8Array): Promise<Digest>
  addImage(repository: string, tag: string, layers: readonly Uint8Array[]): Promise<Image>
  addManifest(repository: string, tag: string | undefined, document: unknown): Promise<Digest>
  repository(name: string): WritableRepository
  /** Goes away: connections are refused from now on. */
  stop(): Promise<void>
}

export async function startOrigin(): Promise<Origin> {
  const registry = openLocalRegistry({
    driver: inMemoryDriver(),
    descriptors: descriptorCache(openFactStore({ kind: 'memory' }, silentLogger)),
    deleteEnabled: true,
    logger: silentLogger,
  })
  const unlimited = { usual: Infinity, most: Infinity }
  const handler = api(registry, apiOptions({ catalog: unlimited, tags: unlimited, readOnly: true }))
  const sent = new Map<string, number>()
  const listener = await listen(
    async (request) => {
      origin.seen.push(`${request.method} ${request.path}`)
      const fault = origin.dial(request)
      if (fault?.wait !== undefined) await waitFor(fault.wait, request.signal)
      const reply = fault?.reply ?? (await handler(request))
      const all = { ...reply.headers, ...fault?.headers }
      const headers = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
      return { ...reply, headers, body: tampered(reply, fault, (bytes) => count(request.path, bytes)) }
    },
    { host: '127.0.0.1', port: 0, logger: silentLogger },
  )
  const count = (path: string, bytes: number): void => {
    sent.set(path, (sent.get(path) ?? 0) + bytes)
  }
  const repository = (name: string): WritableRepository => registry.repository(parseRepositoryName(name))
  const origin: Origin = {
    url: listener.url,
    seen: [],
    dial: () => undefined,
    bytesSent: (path) => sent.get(path) ?? 0,
    repository,
    async addBlob(name, bytes) {
      return (await repository(name).blobs.put(bytes)).digest
    },
    async addManifest(name, tag, document) {
      const { descriptor } = await repository(name).manifests.put(Buffer.from(JSON.stringify(document)))
      if (tag !== undefined) await repository(name).tags.put(parseTag(tag), descriptor.digest)
      return descriptor.digest
    },
    async addImage(name, tag, layers) {
      const configBytes = Buffer.from(
        JSON.stringify({ architecture: 'amd64', os: 'linux', note: randomBytes(8).toString('hex') }),
      )
      const config = await origin.addBlob(name, configBytes)
      const digests: Digest[] = []
      for (const layer of layers) digests.push(await origin.addBlob(name, layer))
      const manifest = await origin.addManifest(name, tag, {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: configBytes.byteLength },
        layers: layers.map((layer, index) => ({
          mediaType: 'application/vnd.oci.image.layer.v1.tar',
          digest: digests[index],
          size: layer.byteLength,
        })),
      })
      return { manifest, config, layers: digests }
    },
    async stop() {
      await listener.close(0)
    },
    async [Symbol.asyncDispose]() {
      await listener.close(0)
    },
  }
  return origin
}

function tampered(reply: Reply, fault: Fault | undefined, count: (bytes: number) => void): Reply['body'] {
  const { body } = reply
  if (body === undefined) return undefined
  async function* counted(): AsyncGenerator<Uint8Array, void> {
    const source = body instanceof Uint8Array ? [body] : (body ?? [])
    async function* whole(): AsyncGenerator<Uint8Array, void> {
      yield* source
    }
    for await (const chunk of fault?.body?.(whole()) ?? whole()) {
      count(chunk.byteLength)
      yield chunk
    }
  }
  const stream: ByteStream = counted()
  return stream
}

/** Bytes that no other call has made, and their digest. */
export function randomBlob(size: number): { readonly bytes: Buffer; readonly digest: Digest } {
  const bytes = randomBytes(size)
  return { bytes, digest: digestOf(bytes) }
}

/** Lets `bytes` of every body pass, then waits for the gate. */
export function pauseAfter(bytes: number, gate: Promise<void>): Fault {
  return {
    async *body(body) {
      let sent = 0
      for await (const chunk of body) {
        const first = chunk.subarray(0, Math.max(0, bytes - sent))
        if (first.byteLength > 0) yield first
        if (first.byteLength < chunk.byteLength) await gate
        if (first.byteLength < chunk.byteLength) yield chunk.subarray(first.byteLength)
        sent += chunk.byteLength
      }
    },
  }
}
