import assert from 'node:assert/strict'
import { test } from 'node:test'
import { locationOf } from '../../src/api/location.ts'

test('a Location is where clients reach us: by their own word, or by http.host, with the path that a proxy takes off', () => {
  const request = { host: 'asked.test:5000', scheme: 'http' } as const
  for (const [host, prefix, expected] of [
    [undefined, '/', 'http://asked.test:5000/v2/a'],
    [undefined, '/sub/', 'http://asked.test:5000/sub/v2/a'],
    ['https://our.test', '/', 'https://our.test/v2/a'],
    ['https://our.test', '/sub/', 'https://our.test/sub/v2/a'],
    ['https://our.test/registry/', '/', 'https://our.test/registry/v2/a'],
    ['https://our.test/x/y/', '/sub/', 'https://our.test/x/y/v2/a'],
    ['https://our.test/sub/', '/sub/', 'https://our.test/sub/v2/a'],
    ['https://our.test/registry', '/sub/', 'https://our.test/sub/v2/a'],
  ] as const) {
    const externalUrl = host === undefined ? undefined : new URL(host)
    const options = { prefix, externalUrl, relativeUrls: false }
    assert.equal(locationOf('v2/a', request, options), expected, `${host} ${prefix}`)
  }
})
