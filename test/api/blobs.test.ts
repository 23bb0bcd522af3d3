// How a blob is read, of any source.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readBlob, type BlobRequest } from '../../src/api/blobs.ts'
import { resolveRange } from '../../src/bytes/range.ts'
import { blobDescriptor } from '../../src/oci/descriptor.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import type { BlobSource } from '../../src/registry/source.ts'
import { hasError } from '../support/errors.ts'
import { streamOf } from '../support/stream-of.ts'

const bytes = Buffer.from('0123456789')
const digest = digestOf(bytes)
const asked: BlobRequest = { head: false, ifNoneMatch: undefined, ifRange: undefined, range: undefined, renew: false }

test('what is not here is unknown, also to whoever says that he has it', async () => {
  const unknown = async (): Promise<never> => await Promise.reject(new RegistryError('BLOB_UNKNOWN', { digest }))
  const nothing: BlobSource = { stat: unknown, open: unknown }
  for (const ifNoneMatch of [`"${digest}"`, '*']) {
    for (const head of [false, true]) {
      await assert.rejects(readBlob(nothing, digest, { ...asked, head, ifNoneMatch }, {}), hasError('BLOB_UNKNOWN'))
    }
  }
})

test('P7: ranges that make more than the whole are answered with the whole', async () => {
  const blobs: BlobSource = {
    stat: async () => blobDescriptor(digest, bytes.length),
    open: async (_, options) => {
      const { start, end } = resolveRange(options?.range ?? { start: 0 }, bytes.length)
      const body = streamOf(bytes.subarray(start, end))
      return { descriptor: blobDescriptor(digest, bytes.length), range: { start, end }, body }
    },
  }
  const whole = await readBlob(blobs, digest, { ...asked, range: 'bytes=0-,0-,0-' }, {})
  assert.deepEqual([whole.status, whole.headers['content-length']], [200, bytes.length])
  const parts = await readBlob(blobs, digest, { ...asked, range: 'bytes=0-3,4-9' }, {})
  assert.equal(parts.status, 206)
})
