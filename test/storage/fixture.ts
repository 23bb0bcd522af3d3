// A registry on storage, with its driver's calls, its facts and its log lines in the test's hands.
import { suite, test } from 'node:test'
import { descriptorCache, type DescriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag, type RepositoryName, type Tag } from '../../src/oci/reference.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { trust } from '../../src/storage/link-files.ts'
import type { ProofPolicy } from '../../src/storage/proofs.ts'
import { openLocalRegistry, type LocalStore } from '../../src/storage/registry.ts'
import { silentLogger, type Logger } from '../../src/telemetry/logger.ts'
import { allDrivers, type DriverUnderTest } from '../support/drivers.ts'
import { faultyDriver, type FaultyDriver } from '../support/faulty-driver.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'

/** Whoever looks at it finds that what was seen before is no longer believed (`trust`), unless it is stopped. */
export class RestlessClock {
  isStopped = false
  #time = 0

  readonly now = (): number => {
    if (!this.isStopped) this.#time += trust
    return this.#time
  }
}

export interface Fixture extends AsyncDisposable {
  readonly driver: FaultyDriver
  readonly store: LocalStore
  readonly descriptors: DescriptorCache
  readonly log: Recording
  readonly clock: RestlessClock
  /** The repository `library/app`. */
  readonly repository: WritableRepository
  /** What a process that starts on the same tree sees. */
  readonly restart: () => LocalStore
}

export const name: RepositoryName = parseRepositoryName('library/app')
export const otherName: RepositoryName = parseRepositoryName('library/other')
export const latest: Tag = parseTag('latest')

export function openStore(
  driver: StorageDriver,
  descriptors?: DescriptorCache,
  verify?: ProofPolicy,
  logger: Logger = silentLogger,
): LocalStore {
  const facts = descriptors ?? descriptorCache(openFactStore({ kind: 'memory' }, silentLogger))
  return openLocalRegistry({ driver, descriptors: facts, deleteEnabled: true, verify, logger })
}

export async function makeFixture(make: () => Promise<DriverUnderTest>): Promise<Fixture> {
  const made = await make()
  const driver = faultyDriver(made.driver)
  const log = recordingLogger()
  const descriptors = descriptorCache(openFactStore({ kind: 'memory' }, log.logger))
  const clock = new RestlessClock()
  const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger: log.logger, now: clock.now })
  return {
    driver,
    clock,
    store,
    descriptors,
    log,
    repository: store.repository(name),
    restart: () => openStore(driver),
    [Symbol.asyncDispose]: async () => await made[Symbol.asyncDispose](),
  }
}

/** A suite of the storage room, on every driver. */
export function storageSuite(
  title: string,
  define: (check: (sentence: string, body: (fixture: Fixture) => Promise<void>) => void) => void,
): void {
  for (const [driverName, make] of allDrivers) {
    suite(`${title}, on the ${driverName} driver`, () => {
      define((sentence, body) => {
        test(sentence, async () => {
          await using fixture = await makeFixture(make)
          await body(fixture)
        })
      })
    })
  }
}

/** A small image manifest; another one for each `text`. */
export function manifestOf(text: string, mediaType: string = mediaTypes.ociManifest): Buffer {
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(text), size: text.length }
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [] }))
}

export const absent: Digest = digestOf('nothing that is stored')

export async function* chunksOf(bytes: Buffer, size: number): AsyncGenerator<Uint8Array, void> {
  const reused = Buffer.alloc(size) // as a source may do
  for (let at = 0; at < bytes.byteLength; at += size) {
    const count = bytes.copy(reused, 0, at, at + size)
    yield reused.subarray(0, count)
  }
}

/** Uploads a blob in one go. */
export async function push(repository: WritableRepository, bytes: Buffer): Promise<Digest> {
  await using upload = await repository.uploads.create()
  await upload.append(chunksOf(bytes, 64 * 1024))
  return (await upload.commit(digestOf(bytes))).digest
}

export async function listed<T>(items: AsyncIterable<T>): Promise<T[]> {
  return await Array.fromAsync(items)
}
