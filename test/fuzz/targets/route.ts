// Paths of requests: src/api/route.ts.
import assert from 'node:assert/strict'
import { parseRoute, type Route } from '../../../src/api/route.ts'
import { RegistryError } from '../../../src/oci/error.ts'
import type { Target } from '../fuzzer.ts'

const digest = `sha256:${'0a'.repeat(32)}`

export const target: Target = {
  seeds: [
    '/',
    '/v2/',
    '/v2/_catalog',
    '/v2/a/tags/list',
    '/v2/a/b/manifests/latest',
    `/v2/a/manifests/${digest}`,
    `/v2/a/referrers/${digest}`,
    `/v2/a/blobs/${digest}`,
    '/v2/a/blobs/uploads/',
    '/v2/a/blobs/uploads/6f9619ff-8b86-4d01-b42d-00cf4fc964ff',
  ],
  words: [
    '/',
    '/v2/',
    'blobs',
    'uploads',
    'manifests',
    'tags',
    'list',
    'referrers',
    '_catalog',
    '..',
    '%2f',
    ':',
    digest,
  ],
  check(input) {
    let route: Route
    try {
      route = parseRoute(input, '/')
    } catch (error) {
      assert.ok(error instanceof RegistryError, String(error))
      return
    }
    assert.ok(pathsOf(route).includes(input), `${input} was read as ${JSON.stringify(route)}`)
  },
}

function pathsOf(route: Route): string[] {
  switch (route.kind) {
    case 'root':
      return ['/']
    case 'base':
      return ['/v2', '/v2/']
    case 'catalog':
      return ['/v2/_catalog']
    case 'tags':
      return [`/v2/${route.name}/tags/list`]
    case 'manifest': {
      const { reference } = route
      return [`/v2/${route.name}/manifests/${reference.kind === 'tag' ? reference.tag : reference.digest}`]
    }
    case 'referrers':
      return [`/v2/${route.name}/referrers/${route.digest}`]
    case 'blob':
      return [`/v2/${route.name}/blobs/${route.digest}`]
    case 'uploads':
      return [`/v2/${route.name}/blobs/uploads`, `/v2/${route.name}/blobs/uploads/`]
    case 'upload':
      return [`/v2/${route.name}/blobs/uploads/${route.id}`]
  }
}
