// What a failed request's line in the log says of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { startOrigin } from '../support/origin.ts'

function isOfRequest({ msg }: Record<string, unknown>): boolean {
  return msg === 'request' || msg === 'request failed'
}

test('the log line of a request that failed has the code that its client heard', async () => {
  await using origin = await startOrigin()
  origin.dial = () => ({ reply: { status: 500, headers: {}, body: Buffer.from('') } })
  await using app = await startAppUnderTest({
    proxy: { hosted: ['ours'], upstreams: { 'origin.test': { url: origin.url } } },
  })
  const manifest = Buffer.alloc(4 * 1024 * 1024 + 1)
  const failures = [
    ['502 UNAVAILABLE', '/v2/origin.test/app/manifests/1', {}],
    ['404 UNSUPPORTED', '/nowhere', {}],
    ['417 UNSUPPORTED', '/v2/', { headers: { expect: 'wonders' } }],
    ['405 UNSUPPORTED', '/v2/', { method: 'DELETE' }],
    ['413 MANIFEST_INVALID', '/v2/ours/app/manifests/1', { method: 'PUT', body: manifest }],
    ['404 BLOB_UNKNOWN', `/v2/ours/app/blobs/sha256:${'0'.repeat(64)}`, {}],
  ] as const
  for (const [expected, path, options] of failures) {
    app.lines.length = 0
    const { status, codes } = await ask(app.url + path, options)
    assert.equal(`${status} ${codes.join()}`, expected, path)
    await app.until(isOfRequest)
    assert.deepEqual(
      app.lines.filter(isOfRequest).map((line) => `${String(line['status'])} ${String(line['code'])}`),
      [expected],
      path,
    )
  }
})
