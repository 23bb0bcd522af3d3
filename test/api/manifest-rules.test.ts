import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manifestRules, type ManifestValidation } from '../../src/api/manifest-rules.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { ManifestDescriptor, Platform } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'

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
