// Taking away uploads that nobody goes on with (distribution's `uploadpurging`).
import { PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { UploadId } from '../registry/store.ts'
import type { Logger } from '../telemetry/logger.ts'
import { repositoriesRoot, uploadDataPath, uploadFolder, uploadStartedAtPath, uploadsFolder } from './layout.ts'
import { namesIn } from './links.ts'
import { walkRepositoryFolders } from './repository-folders.ts'
import { isUploadId } from './upload.ts'

export interface PurgeOptions {
  readonly driver: StorageDriver
  /** Uploads that were begun before this, and not written to since, go. */
  readonly olderThan: Date
  /** Says what would go, and touches nothing. */
  readonly dryRun: boolean
  /** Takes what could not be read or removed; the rest is purged all the same. */
  readonly onFailure: (path: DriverPath, error: unknown) => void
  readonly signal?: AbortSignal | undefined
}

export interface PurgeReport {
  readonly uploads: number
  readonly bytes: number
}

export async function purgeUploads(options: PurgeOptions): Promise<PurgeReport> {
  const { driver, onFailure, signal } = options
  let uploads = 0
  let bytes = 0
  const onUnread = (path: DriverPath, error: unknown): void => {
    const isNew = path === repositoriesRoot && error instanceof PathNotFoundError
    if (!isNew) onFailure(path, error)
  }
  for await (const { name } of walkRepositoryFolders(driver, { onFailure: onUnread, signal })) {
    for (const id of await sessionsOf(name, options)) {
      signal?.throwIfAborted()
      try {
        const size = await purge(name, id, options)
        if (size === undefined) continue
        uploads++
        bytes += size
      } catch (error) {
        if (!(error instanceof PathNotFoundError)) onFailure(uploadFolder(name, id), error) // else it is over
      }
    }
  }
  return { uploads, bytes }
}

async function sessionsOf(name: RepositoryName, { driver, onFailure }: PurgeOptions): Promise<readonly UploadId[]> {
  const folder = uploadsFolder(name)
  try {
    return (await namesIn(driver, folder)).filter((entry): entry is UploadId => isUploadId(entry))
  } catch (error) {
    onFailure(folder, error)
    return []
  }
}

/** The bytes that are gone; `undefined` where the upload stays. */
async function purge(
  name: RepositoryName,
  id: UploadId,
  { driver, olderThan, dryRun }: PurgeOptions,
): Promise<number | undefined> {
  const written = await find(driver.stat(uploadDataPath(name, id)))
  const startedAt = await findStart(driver, name, id)
  // A long upload lives as long as something comes: distribution ends it by its start.
  const lastUsed = Math.max(startedAt, written?.modified.getTime() ?? -Infinity)
  if (lastUsed >= olderThan.getTime()) return undefined
  if (!dryRun) await driver.remove(uploadFolder(name, id))
  return written?.size ?? 0
}

/** Where the start is not written down as it should be, the folder's age counts. */
async function findStart(driver: StorageDriver, name: RepositoryName, id: UploadId): Promise<number> {
  const text = await find(driver.read(uploadStartedAtPath(name, id), 100))
  const startedAt = Date.parse(text?.toString() ?? '')
  return Number.isNaN(startedAt) ? (await driver.stat(uploadFolder(name, id))).modified.getTime() : startedAt
}

async function find<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (error instanceof PathNotFoundError) return undefined
    throw error
  }
}

export interface PurgerOptions {
  readonly driver: StorageDriver
  /** Milliseconds. */
  readonly age: number
  readonly interval: number
  readonly dryRun: boolean
  readonly logger: Logger
}

const maxDelay = 2 ** 31 - 1

/** Purges uploads again and again until it is disposed. */
export class UploadPurger implements Disposable {
  readonly #options: PurgerOptions
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined

  /** First after some random minutes: replicas on one storage need not all walk it at once. */
  constructor(options: PurgerOptions) {
    this.#options = options
    this.#schedule(Math.floor(Math.random() * 60) * 60_000)
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    clearTimeout(this.#timer)
  }

  #schedule(delay: number): void {
    if (this.#stop.signal.aborted) return
    this.#timer = setTimeout(() => void this.#run(), Math.min(delay, maxDelay)).unref()
  }

  async #run(): Promise<void> {
    const { driver, age, interval, dryRun, logger } = this.#options
    const { signal } = this.#stop
    try {
      const { uploads, bytes } = await purgeUploads({
        driver,
        olderThan: new Date(Date.now() - age),
        dryRun,
        onFailure: (path, error) => logger.warn({ path, error }, 'upload could not be purged'),
        signal,
      })
      if (uploads > 0) logger.info({ uploads, bytes, dryRun }, dryRun ? 'old uploads found' : 'old uploads purged')
    } catch (error) {
      if (!signal.aborted) logger.warn({ error }, 'uploads could not be purged')
    }
    this.#schedule(interval)
  }
}
