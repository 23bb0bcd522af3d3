// What clients rely on when they push, delete or go on with a list: what is asked of a registry for them, and in which order.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readBlob } from '../../src/api/blobs.ts'
import { listTags } from '../../src/api/listing.ts'
import { checkReferences } from '../../src/api/manifest-check.ts'
import { removeManifest } from '../../src/api/manifest-push.ts'
import { readManifest, type ManifestRequest } from '../../src/api/manifests.ts'
import { blobDescriptor } from '../../src/oci/descriptor.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { RegistryError, RegistryErrors } from '../../src/oci/error.ts'
import { parseManifest } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import type { Repository } from '../../src/registry/source.ts'
import type { RemovableRepository } from '../../src/registry/store.ts'
import { apiOptions } from '../support/api-options.ts'
import { hasError } from '../support/errors.ts'

const name = parseRepositoryName('library/app')
const [v1, v2] = [parseTag('v1'), parseTag('v2')]
const digest = digestOf('what is here')
const unused = async (): Promise<never> => assert.fail('not asked for')

/** Says that all is here, and notes what storage is to be asked for whatever is known. */
function wholeRepository(): { readonly repository: Repository; readonly renewed: string[] } {
  const renewed: string[] = []
  const descriptor = { ...blobDescriptor(digest, 10), mediaType: mediaTypes.dockerManifest }
  const stat =
    (kind: string): Repository['blobs']['stat'] =>
    async (asked, options) => {
      if (options?.renew === true) renewed.push(`${kind} ${asked}`)
      return descriptor
    }
  const repository: Repository = {
    name,
    blobs: { stat: stat('blob'), open: unused },
    manifests: { stat: stat('manifest'), get: unused },
    tags: {
      resolve: async () => descriptor,
      async *list() {
        yield* [v1, v2]
      },
    },
    referrers: { list: () => assert.fail('not asked for') },
  }
  return { repository, renewed }
}

const { schema1, rules } = apiOptions()
const head: ManifestRequest = { head: true, accept: undefined, ifNoneMatch: undefined, schema1, renew: true }

test('P2: what a client hears is here, and so does not push, is safe from a sweep', async () => {
  const { repository, renewed } = wholeRepository()
  const asked = { ...head, ifRange: undefined, range: undefined }
  assert.equal((await readBlob(repository.blobs, digest, asked, {})).status, 200)
  assert.equal((await readBlob(repository.blobs, digest, { ...asked, ifNoneMatch: '*' }, {})).status, 304)
  assert.deepEqual(renewed.splice(0), [`blob ${digest}`, `blob ${digest}`])
  assert.equal((await readManifest(repository, { kind: 'digest', digest }, head, {})).status, 200)
  assert.equal((await readManifest(repository, { kind: 'tag', tag: v1 }, head, {})).status, 200)
  assert.deepEqual(renewed, [`manifest ${digest}`, `manifest ${digest}`])
})

test('P2: what a pushed manifest names is safe from a sweep', async () => {
  const { repository, renewed } = wholeRepository()
  const document = (fields: object): Buffer => Buffer.from(JSON.stringify({ schemaVersion: 2, ...fields }))
  const named = (mediaType: string): object => ({ mediaType, digest, size: 10 })
  const image = document({ mediaType: mediaTypes.ociManifest, config: named(mediaTypes.ociImageConfig), layers: [] })
  await checkReferences(repository, parseManifest(image), rules, {})
  assert.deepEqual(renewed.splice(0), [`blob ${digest}`])
  const list = document({ mediaType: mediaTypes.ociIndex, manifests: [named(mediaTypes.ociManifest)] })
  await checkReferences(repository, parseManifest(list), rules, {})
  assert.deepEqual(renewed, [`manifest ${digest}`])
  const unknown = async (): Promise<never> => await Promise.reject(new RegistryError('MANIFEST_UNKNOWN'))
  const without = { ...repository, manifests: { stat: unknown, get: unknown } }
  await assert.rejects(
    checkReferences(without, parseManifest(list), rules, {}),
    (error) => error instanceof RegistryErrors && error.errors[0].code === 'MANIFEST_BLOB_UNKNOWN',
    'a blob is no image',
  )
})

test('HEAD of a tag whose manifest is gone says so', async () => {
  const { repository } = wholeRepository()
  const gone = async (): Promise<never> => await Promise.reject(new RegistryError('MANIFEST_UNKNOWN'))
  const without = { ...repository, manifests: { stat: gone, get: gone } }
  await assert.rejects(readManifest(without, { kind: 'tag', tag: v1 }, head, {}), hasError('MANIFEST_UNKNOWN'))
})

test('P2: the tags of a manifest go before it does, and only where they still point at it', async () => {
  const done: string[] = []
  const repository: RemovableRepository = {
    blobs: { delete: unused },
    manifests: { delete: async (which) => void done.push(which) },
    tags: {
      find: unused,
      async *pointingAt() {
        yield* [v1, v2]
      },
      delete: async (tag, options) => {
        done.push(`${tag} of ${options?.onlyIf}`)
        return true
      },
    },
  }
  assert.equal((await removeManifest(repository, { kind: 'digest', digest }, {})).status, 202)
  assert.deepEqual(done, [`v1 of ${digest}`, `v2 of ${digest}`, digest])
})

test('the next page is that of the same upstream', async () => {
  const { repository } = wholeRepository()
  const target = { path: '/v2/library/app/tags/list', query: new URLSearchParams('n=1&ns=ghcr.io') }
  const { headers } = await listTags(repository, name, target, { usual: 10, most: 10 }, {})
  assert.equal(headers['link'], '</v2/library/app/tags/list?last=v1&n=1&ns=ghcr.io>; rel="next"')
})
