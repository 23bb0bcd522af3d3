import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manifestRules, type ManifestValidation } from '../../src/api/manifest-rules.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { ManifestDescriptor, Platform } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'

function isAllowed(allow: readonly string[], deny: readonly string[], url: string): boolean {
  const indexes = { platforms: 'all', platformList: [] } as const
  return manifestRules({ disabled: false, urls: { allow, deny }, indexes }, { classes: [] }).isAllowedUrl(url)
}

test('a foreign layer may name the URLs that are allowed and not denied', () => {
  const cases: readonly (readonly [allow: string[], deny: string[], url: string, isAllowed: boolean])[] = [
    [[], [], 'https://a.example/x', false],
    [[], [], '', false],
    [['^https://a\\.example/'], [], 'https://a.example/x', true],
    [['^https://a\\.example/'], [], 'https://b.example/x', false],
    [['^https://a/', '^https://b/'], [], 'https://b/x', true],
    [['a|c', 'b'], [], 'https://c/', true],
    [['example'], [], 'https://b.example/x', true], // unanchored
    [['^$'], [], 'https://a.example/x', false],
    [[], ['evil'], 'https://a.example/x', true],
    [[], ['evil'], 'https://evil.example/x', false],
    [[], ['bad', 'evil'], 'https://evil.example/x', false],
    [['example'], ['evil'], 'https://evil.example/x', false],
    [['example'], ['evil'], 'https://good.example/x', true],
  ]
  for (const [allow, deny, url, expected] of cases) {
    assert.equal(isAllowed(allow, deny, url), expected, JSON.stringify([allow, deny, url]))
  }
})

test('a URL of a foreign layer is http or https, without a fragment, and means one thing', () => {
  for (const url of ['http://a/', 'https://a', 'HTTPS://a/x?y=%20', 'https://[::1]:8080/x']) {
    assert.ok(isAllowed([''], [], url), url)
  }
  const odd = ['', '/x', '//a/x', 'a', 'ftp://a/x', 'file:///x', 'data:,x', 'javascript:x', 'https:a', 'https://']
  const mended = [
    'https:///x',
    'https://a /x',
    ' https://a/',
    'https://a/\n',
    'https://a\\@b/',
    'https://a/\0',
    'https://é/',
  ]
  const broken = ['https://a/#x', 'https://a/#', 'https://a:port/', 'https://[::1/', `https://a/${'x'.repeat(2048)}`]
  for (const url of [...odd, ...mended, ...broken]) {
    assert.ok(!isAllowed([''], [], url), JSON.stringify(url))
    assert.ok(!isAllowed([], ['nothing'], url), JSON.stringify(url))
  }
})

function child(platform: Platform | undefined): ManifestDescriptor {
  return { mediaType: mediaTypes.ociManifest, digest: digestOf('a'), size: 1, urls: [], platform }
}

test('the children of an index that must be here are all, none, or those of the listed platforms', () => {
  const listed = [
    { architecture: 'amd64', os: 'linux' },
    { architecture: 'arm64', os: 'windows' },
  ]
  type Platforms = ManifestValidation['indexes']['platforms']
  const cases: readonly (readonly [Platforms, readonly Platform[], Platform | undefined, boolean])[] = [
    ['all', [], undefined, true],
    ['all', listed, { architecture: 's390x', os: 'linux' }, true],
    ['none', [], undefined, false],
    ['none', listed, { architecture: 'amd64', os: 'linux' }, false],
    ['list', listed, { architecture: 'amd64', os: 'linux' }, true],
    ['list', listed, { architecture: 'arm64', os: 'windows' }, true],
    ['list', listed, { architecture: 'amd64', os: 'windows' }, false],
    ['list', listed, { architecture: 'AMD64', os: 'linux' }, false],
    ['list', listed, undefined, false],
    ['list', [], { architecture: 'amd64', os: 'linux' }, false],
    ['list', [], undefined, false],
  ]
  for (const [platforms, platformList, platform, expected] of cases) {
    const validation = { disabled: false, urls: { allow: [], deny: [] }, indexes: { platforms, platformList } }
    const { isRequiredChild } = manifestRules(validation, { classes: [] })
    assert.equal(isRequiredChild(child(platform)), expected, JSON.stringify([platforms, platformList, platform]))
  }
})

test('classes and the switch are taken as they are', () => {
  const urls = { allow: [], deny: [] }
  const indexes = { platforms: 'all', platformList: [] } as const
  const rules = manifestRules({ disabled: true, urls, indexes }, { classes: ['image'] })
  assert.deepEqual([rules.disabled, rules.classes], [true, ['image']])
})

test('a server goes by the rules of its configuration', async () => {
  const missing = { mediaType: mediaTypes.ociManifest, digest: digestOf('missing'), size: 1 }
  const amd64 = { ...missing, platform: { architecture: 'amd64', os: 'linux' } }
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [missing, amd64] }
  const platformlist = [{ architecture: 'arm64', os: 'linux' }]
  const cases: readonly (readonly [sections: Record<string, unknown>, status: number])[] = [
    [{}, 400],
    [{ validation: { disabled: true } }, 201],
    [{ validation: { manifests: { indexes: { platforms: 'none' } } } }, 201],
    [{ validation: { manifests: { indexes: { platforms: 'list', platformlist } } } }, 201],
    [{ validation: { manifests: { indexes: { platforms: 'all', platformlist } } } }, 400],
  ]
  for (const [sections, status] of cases) {
    await using app = await startAppUnderTest(sections)
    const headers = { 'content-type': mediaTypes.ociIndex }
    const answer = await ask(`${app.url}/v2/a/manifests/x`, { method: 'PUT', headers, body: JSON.stringify(index) })
    assert.equal(answer.status, status, JSON.stringify(sections))
  }
})

test('a digest that is named twice must pass both as a layer of ours and as a foreign one', async () => {
  await using app = await startAppUnderTest({ validation: { manifests: { urls: { allow: ['^https://a/'] } } } })
  const digest = digestOf('missing')
  const ours = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 1 }
  const foreign = { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar', digest, size: 1 }
  const [allowed, refused] = [
    { ...foreign, urls: ['https://a/x'] },
    { ...foreign, urls: ['https://b/x'] },
  ]
  const push = async (layers: readonly unknown[]): Promise<readonly string[]> => {
    const document = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: allowed, layers }
    const headers = { 'content-type': mediaTypes.ociManifest }
    const body = JSON.stringify(document)
    return (await ask(`${app.url}/v2/a/manifests/x`, { method: 'PUT', headers, body })).codes
  }
  assert.deepEqual(await push([allowed]), [])
  assert.deepEqual(await push([ours, allowed]), ['MANIFEST_BLOB_UNKNOWN'])
  assert.deepEqual(await push([refused, allowed]), ['MANIFEST_INVALID'])
})

test('P8: a layer whose bytes are here may name no other URL than a foreign one: clients would fetch it from there', async () => {
  await using app = await startAppUnderTest({ validation: { manifests: { urls: { allow: ['^https://a/'] } } } })
  const bytes = Buffer.from('{}')
  const blob = { digest: digestOf(bytes), size: bytes.byteLength }
  await ask(`${app.url}/v2/a/blobs/uploads/?digest=${blob.digest}`, { method: 'POST', body: bytes })
  const cases: readonly (readonly [mediaType: string, url: string, status: number])[] = [
    ['application/vnd.oci.image.layer.v1.tar+gzip', 'https://a/x', 201],
    ['application/vnd.oci.image.layer.v1.tar+gzip', 'https://b/x', 400],
    ['application/vnd.oci.image.layer.v1.tar+zstd', 'https://b/x', 400],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'https://b/x', 400],
    ['application/vnd.example.model', 'https://b/x', 201], // no image's: nobody runs it
  ]
  for (const [mediaType, url, status] of cases) {
    const config = { mediaType: mediaTypes.ociImageConfig, ...blob }
    const layers = [{ mediaType, ...blob, urls: [url] }]
    const body = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers })
    const headers = { 'content-type': mediaTypes.ociManifest }
    const answer = await ask(`${app.url}/v2/a/manifests/x`, { method: 'PUT', headers, body })
    assert.equal(answer.status, status, `${mediaType} ${url}`)
  }
})
