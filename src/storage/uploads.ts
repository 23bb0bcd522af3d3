// The upload sessions of a repository, as distribution keeps them: a folder each, that any process can go on with.
import { randomUUID } from 'node:crypto'
import { PathNotFoundError, type StorageDriver } from '../drivers/driver.ts'
import { RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CallOptions } from '../registry/call.ts'
import type { Upload, UploadId, UploadStore } from '../registry/store.ts'
import type { Content } from './content.ts'
import { uploadDataPath, uploadFolder, uploadStartedAtPath } from './layout.ts'
import type { LinkedBlobs } from './linked-blobs.ts'
import { isUploadId, StoredUpload, type UploadRoom } from './upload.ts'

export interface RepositoryUploadsOptions {
  readonly name: RepositoryName
  readonly driver: StorageDriver
  readonly content: Content
  readonly blobs: LinkedBlobs
  readonly room: UploadRoom
}

export class RepositoryUploads implements UploadStore {
  readonly #options: RepositoryUploadsOptions

  constructor(options: RepositoryUploadsOptions) {
    this.#options = options
  }

  async create(options?: CallOptions): Promise<Upload> {
    options?.signal?.throwIfAborted()
    const { name, driver } = this.#options
    const id = randomUUID()
    if (!isUploadId(id)) throw new Error('not a UUID')
    const startedAt = new Date()
    const text = startedAt.toISOString().replace(/\.\d+Z$/, 'Z') // distribution reads RFC 3339 in whole seconds
    await driver.write(uploadStartedAtPath(name, id), Buffer.from(text))
    return await this.#open(id, startedAt)
  }

  async resume(id: string, options?: CallOptions): Promise<Upload> {
    options?.signal?.throwIfAborted()
    if (!isUploadId(id)) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', { id: id.slice(0, 100) })
    const startedAt = await this.#startedAt(id)
    await this.#checkData(id)
    return await this.#open(id, startedAt)
  }

  /** A session whose bytes have gone to their blob's place is over: it does not begin anew. */
  async #checkData(id: UploadId): Promise<void> {
    const { name, driver } = this.#options
    try {
      await driver.stat(uploadDataPath(name, id))
    } catch (cause) {
      if (cause instanceof PathNotFoundError) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', { id }, { cause })
      throw cause
    }
  }

  async #open(id: UploadId, startedAt: Date): Promise<Upload> {
    const { name, content, blobs, room } = this.#options
    const place = {
      id,
      startedAt,
      path: uploadDataPath(name, id),
      folder: uploadFolder(name, id),
      publish: content.publish.bind(content),
      claim: content.claim.bind(content),
      reveal: blobs.reveal.bind(blobs),
    }
    return await StoredUpload.open(place, room)
  }

  async #startedAt(id: UploadId): Promise<Date> {
    const { name, driver } = this.#options
    const path = uploadStartedAtPath(name, id)
    try {
      const date = new Date((await driver.read(path, 100)).toString('utf8'))
      return Number.isNaN(date.getTime()) ? (await driver.stat(path)).modified : date
    } catch (cause) {
      if (cause instanceof PathNotFoundError) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', { id }, { cause })
      throw cause
    }
  }
}
