// A store on a folder whose disk is kept within bounds, with clocks that stand still until a test moves them.
import type { Stats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { Evictor, type EvictorOptions } from '../../src/ledger/evictor.ts'
import { UsageRecorder } from '../../src/ledger/recorder.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { openLocalRegistry, type LocalStore } from '../../src/storage/registry.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'
import { temporaryFolder } from '../support/real-parts.ts'

export class Clocks {
  #wall = Date.now()
  #monotonic = 0

  readonly wall = (): number => this.#wall
  readonly monotonic = (): number => this.#monotonic

  pass(milliseconds: number): void {
    this.#wall += milliseconds
    this.#monotonic += milliseconds
  }

  /** Sets the clock of the machine. */
  set(milliseconds: number): void {
    this.#wall += milliseconds
  }
}

export interface Kept extends AsyncDisposable, Recording {
  readonly store: LocalStore
  readonly recorder: UsageRecorder
  readonly evictor: Evictor
  readonly repository: (name: string) => WritableRepository
}

export interface KeepOptions extends Partial<Omit<EvictorOptions, 'store' | 'recorder' | 'logger'>> {
  readonly driver?: StorageDriver | undefined
}

/** Repositories below `hub/` are copies. The first round is over when this resolves. */
export async function keep(folder: string, clocks: Clocks, options: KeepOptions = {}): Promise<Kept> {
  const kept = start(folder, clocks, options)
  await kept.evictor.run()
  return kept
}

/** As `keep`, without waiting for anything. */
export function start(folder: string, clocks: Clocks, options: KeepOptions = {}): Kept {
  const log = recordingLogger()
  const recorder = new UsageRecorder()
  const store = openLocalRegistry({
    driver: options.driver ?? filesystemDriver({ rootDirectory: folder }),
    descriptors: descriptorCache(openFactStore({ kind: 'memory' }, log.logger)),
    deleteEnabled: false,
    logger: log.logger,
    usage: recorder,
  })
  const evictor = new Evictor({
    folder: join(folder, 'entrepot'),
    maxSize: undefined,
    ttl: 0,
    pins: [],
    isCopy: (name) => name.startsWith('hub/'),
    clocks,
    ...options,
    store,
    recorder,
    logger: log.logger,
  })
  return {
    ...log,
    store,
    recorder,
    evictor,
    repository: (name) => store.repository(parseRepositoryName(name)),
    [Symbol.asyncDispose]: async () => await evictor[Symbol.asyncDispose](),
  }
}

/** A folder and a kept store on it; `reopen` is what a process that starts there sees. */
export async function makeKept(
  options: KeepOptions = {},
): Promise<AsyncDisposable & { readonly folder: string; readonly clocks: Clocks; readonly kept: Kept }> {
  const folder = await temporaryFolder()
  const clocks = new Clocks()
  const kept = await keep(folder.path, clocks, options)
  return {
    folder: folder.path,
    clocks,
    kept,
    [Symbol.asyncDispose]: async () => {
      await kept[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

/** Bytes that only this text makes. */
export function layerOf(text: string, size = 10_000): Buffer {
  return Buffer.alloc(size, `${text} `)
}

function describe(mediaType: string, bytes: Buffer): Record<string, unknown> {
  return { mediaType, digest: digestOf(bytes), size: bytes.byteLength }
}

export interface Stored {
  readonly digest: Digest
  readonly bytes: Buffer
}

/** Stores an image of these layers, the first of them as its config. */
export async function storeImage(
  repository: WritableRepository,
  tag: string | undefined,
  layers: readonly Buffer[],
  subject?: Buffer,
): Promise<Stored> {
  for (const layer of layers) await repository.blobs.put(layer)
  const [config, ...rest] = layers.map((layer) => describe('application/vnd.oci.image.layer.v1.tar', layer))
  const about = subject === undefined ? {} : { subject: describe(mediaTypes.ociManifest, subject) }
  return await storeManifest(repository, tag, { mediaType: mediaTypes.ociManifest, config, layers: rest, ...about })
}

export async function storeIndex(
  repository: WritableRepository,
  tag: string | undefined,
  children: readonly Stored[],
): Promise<Stored> {
  const manifests = children.map(({ bytes }) => describe(mediaTypes.ociManifest, bytes))
  return await storeManifest(repository, tag, { mediaType: mediaTypes.ociIndex, manifests })
}

async function storeManifest(
  repository: WritableRepository,
  tag: string | undefined,
  document: Record<string, unknown>,
): Promise<Stored> {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...document }))
  const { descriptor } = await repository.manifests.put(bytes)
  if (tag !== undefined) await repository.tags.put(parseTag(tag), descriptor.digest)
  return { digest: descriptor.digest, bytes }
}

export async function isHere(found: Promise<unknown>): Promise<boolean> {
  try {
    await found
    return true
  } catch {
    return false // whatever the reason: it cannot be had
  }
}

/** What files and folders take on disk, but for the ledger's. */
export async function diskUsage(folder: string): Promise<number> {
  return await sumOf(folder, (name, { blocks }) => (/^(?:ledger|census)\.sqlite/.test(name) ? 0 : blocks * 512))
}

/** Bytes of all blobs that are stored. */
export async function blobBytes(folder: string): Promise<number> {
  return await sumOf(join(folder, 'docker/registry/v2/blobs'), (_, stats) => (stats.isFile() ? stats.size : 0))
}

async function sumOf(folder: string, measure: (name: string, stats: Stats) => number): Promise<number> {
  for (;;) {
    try {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true })
      const sizes = entries.map(async ({ name, parentPath }) => measure(name, await stat(join(parentPath, name))))
      return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error // it went meanwhile
    }
  }
}
