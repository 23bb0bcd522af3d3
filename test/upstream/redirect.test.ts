import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nextHop } from '../../src/upstream/redirect.ts'
import { canary } from './fixture.ts'

const from = new URL('https://registry.example/v2/a/blobs/sha256:1')

const followed: ReadonlyArray<[string, string]> = [
  ['/other?x=1', 'https://registry.example/other?x=1'],
  ['https://cdn.example/b?sig=1#part', 'https://cdn.example/b?sig=1'],
  ['https://cdn.example:8443/b', 'https://cdn.example:8443/b'],
]

for (const [location, expected] of followed) {
  test(`a redirect is followed to ${expected}`, () => {
    assert.equal(nextHop(from, location).href, expected)
  })
}

const refused: ReadonlyArray<[string, string | undefined]> = [
  ['from https to http', `http://registry.example/b?sig=${canary}`],
  ['to a file', 'file:///etc/passwd'],
  ['to data', `data:text/plain,${canary}`],
  ['with a user name', `https://user:${canary}@cdn.example/b`],
  ['without Location', undefined],
  ['to nothing', ''],
  ['to another host without a scheme', '//cdn.example/b'],
  ['with backslashes', '\\\\cdn.example/b'],
  ['with a backslash within', `https://cdn.example\\@evil.example/${canary}`],
  ['with a space', 'https://cdn.example/a b'],
  ['with a line break', 'https://cdn.example/a\r\nx: y'],
  ['to garbage', 'https://:0:/'],
]

for (const [why, location] of refused) {
  test(`P8: a redirect ${why} is refused`, () => {
    assert.throws(
      () => nextHop(from, location),
      (error: Error) => error.name === 'UpstreamError' && !error.message.includes(canary),
    )
  })
}

test('a redirect from http to https is followed', () => {
  assert.equal(nextHop(new URL('http://a.example/'), 'https://b.example/x').href, 'https://b.example/x')
})
