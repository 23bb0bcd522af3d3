import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRoute } from '../../src/api/route.ts'
import { RegistryError } from '../../src/oci/error.ts'

const digest = `sha256:${'a'.repeat(64)}`

test('a path names one resource, read from its right end', () => {
  const cases: [string, Record<string, unknown>][] = [
    ['/', { kind: 'root' }],
    ['/v2', { kind: 'base' }],
    ['/v2/', { kind: 'base' }],
    ['/v2/_catalog', { kind: 'catalog' }],
    ['/v2/a/tags/list', { kind: 'tags', name: 'a' }],
    ['/v2/a/b/manifests/latest', { kind: 'manifest', name: 'a/b', reference: { kind: 'tag', tag: 'latest' } }],
    [`/v2/a/manifests/${digest}`, { kind: 'manifest', name: 'a', reference: { kind: 'digest', digest } }],
    [`/v2/a/blobs/${digest}`, { kind: 'blob', name: 'a', digest }],
    [`/v2/a/b/referrers/${digest}`, { kind: 'referrers', name: 'a/b', digest }],
    [`/v2/referrers/referrers/${digest}`, { kind: 'referrers', name: 'referrers', digest }],
    [`/v2/a/referrers/blobs/${digest}`, { kind: 'blob', name: 'a/referrers', digest }],
    ['/v2/a/blobs/uploads/', { kind: 'uploads', name: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'uploads', name: 'a' }],
    ['/v2/a/blobs/uploads/x', { kind: 'upload', name: 'a', id: 'x' }],
    [
      '/v2/a/blobs/uploads/manifests/x',
      { kind: 'manifest', name: 'a/blobs/uploads', reference: { kind: 'tag', tag: 'x' } },
    ],
    [`/v2/tags/list/blobs/${digest}`, { kind: 'blob', name: 'tags/list', digest }],
    [
      '/v2/manifests/manifests/manifests',
      { kind: 'manifest', name: 'manifests', reference: { kind: 'tag', tag: 'manifests' } },
    ],
    ['/v2/tags/list/tags/list', { kind: 'tags', name: 'tags/list' }],
  ]
  for (const [path, route] of cases) assert.deepEqual(parseRoute(path, '/'), route, path)
})

test('a path that is not in the grammar is refused by what is wrong with it', () => {
  const cases: [string, string][] = [
    ['/v1/', 'ROUTE_UNKNOWN'],
    ['/v2x/', 'ROUTE_UNKNOWN'],
    ['/v2//', 'ROUTE_UNKNOWN'],
    ['/v2/a', 'ROUTE_UNKNOWN'],
    ['/v2/_catalog/', 'ROUTE_UNKNOWN'],
    ['/v2/a/tags/list/', 'ROUTE_UNKNOWN'],
    ['http://evil.example/v2/', 'ROUTE_UNKNOWN'],
    ['//evil.example/v2/', 'ROUTE_UNKNOWN'],
    ['*', 'ROUTE_UNKNOWN'],
    ['', 'ROUTE_UNKNOWN'],
    ['/v2/A/tags/list', 'NAME_INVALID'],
    ['/v2//tags/list', 'NAME_INVALID'],
    ['/v2/tags/list', 'NAME_INVALID'],
    ['/v2/a/../b/tags/list', 'NAME_INVALID'],
    ['/v2/a/%2e%2e/b/tags/list', 'NAME_INVALID'],
    ['/v2/a%2fb/manifests/x', 'NAME_INVALID'],
    ['/v2/a%00/manifests/x', 'NAME_INVALID'],
    ['/v2/a\\b/manifests/x', 'NAME_INVALID'],
    ['/v2/_catalog/manifests/x', 'NAME_INVALID'],
    [`/v2/${'a/'.repeat(129)}manifests/x`, 'NAME_INVALID'],
    ['/v2/a/manifests/-x', 'TAG_INVALID'],
    ['/v2/a/manifests/', 'TAG_INVALID'],
    [`/v2/a/manifests/${'x'.repeat(129)}`, 'TAG_INVALID'],
    ['/v2/a/manifests/sha256:beef', 'DIGEST_INVALID'],
    ['/v2/a/manifests/md5:d41d8cd98f00b204e9800998ecf8427e', 'DIGEST_INVALID'],
    ['/v2/a/blobs/latest', 'DIGEST_INVALID'],
    ['/v2/a/referrers/latest', 'DIGEST_INVALID'],
    ['/v2/a/referrers/', 'DIGEST_INVALID'],
    ['/v2/a/referrers/sha256:beef', 'DIGEST_INVALID'],
    [`/v2/a/referrers/${digest}/`, 'ROUTE_UNKNOWN'],
    [`/v2/A/referrers/${digest}`, 'NAME_INVALID'],
    [`/v2/referrers/${digest}`, 'NAME_INVALID'],
    ['/v2/a/blobs/sha256:../../x', 'ROUTE_UNKNOWN'],
    [`/v2/a/blobs/${digest.replace(':', '%3A')}`, 'DIGEST_INVALID'],
    [`/v2/a/blobs/${digest.toUpperCase()}`, 'DIGEST_INVALID'],
  ]
  for (const [path, code] of cases) {
    assert.throws(
      () => parseRoute(path, '/'),
      (error) => error instanceof RegistryError && error.code === code,
      path,
    )
  }
})

test('the API lies below http.prefix', () => {
  assert.deepEqual(parseRoute('/mirror/v2/', '/mirror/'), { kind: 'base' })
  assert.throws(() => parseRoute('/v2/', '/mirror/'), RegistryError)
})
