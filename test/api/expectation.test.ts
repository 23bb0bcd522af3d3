// `Expect` (RFC 9110 §10.1.1): the one expectation that there is, and those that nobody can meet.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { saidTo } from '../support/raw-client.ts'

test('P10: an expectation that is none is answered 417, in the envelope and with a log line', async () => {
  for (const expect of ['foo', '100-continue, foo', 'foo, 100-continue', '100-continued']) {
    for (const [method, path] of [
      ['GET', '/v2/'],
      ['PUT', '/v2/app/manifests/x'],
      ['POST', '/v2/app/blobs/uploads/'],
    ] as const) {
      await using app = await startAppUnderTest({})
      const answer = await ask(app.url + path, { method, headers: { expect }, body: '{}' })
      assert.equal(answer.status, 417, `${method} ${expect}`)
      assert.deepEqual(answer.codes, ['UNSUPPORTED'])
      assert.match(answer.body.toString(), /Expect/)
      const lines = app.lines.filter((line) => line['msg'] === 'request')
      assert.deepEqual(
        lines.map((line) => [line['method'], line['status']]),
        [[method, 417]],
      )
    }
  }
})

test('100-continue is met, in whatever letters and however often it is said, and so is nothing', async () => {
  await using app = await startAppUnderTest({})
  for (const expect of ['100-continue', '100-Continue', '100-continue, ,100-continue', '']) {
    const headers = { expect }
    const answer = await ask(`${app.url}/v2/app/blobs/uploads/`, { method: 'POST', headers })
    assert.equal(answer.status, 202, expect)
  }
})

test('a push that is refused is refused before its body is asked for', async () => {
  await using app = await startAppUnderTest({ auth: { silly: { realm: 'https://silly.test/token', service: 'ours' } } })
  const length = 8 * 1024 * 1024
  const session = '/v2/app/blobs/uploads/00000000-0000-0000-0000-000000000000'
  for (const [status, line, ...headers] of [
    [401, `PATCH ${session}`],
    [404, `PATCH ${session}`, 'authorization: any'],
    [404, `PUT ${session}?digest=sha256:${'0'.repeat(64)}`, 'authorization: any'],
    [405, 'PUT /v2/app/tags/list', 'authorization: any'],
    [413, 'PUT /v2/app/manifests/v1', 'authorization: any'],
  ] as const) {
    const head = [`${line} HTTP/1.1`, 'host: a', `content-length: ${length}`, 'expect: 100-continue', ...headers]
    const said = await saidTo(app.url, [...head, '', ''].join('\r\n'))
    assert.match(said, new RegExp(`^HTTP/1\\.1 ${status} [^]*"errors"`), line)
    assert.doesNotMatch(said, /HTTP\/1\.1 100/, line)
  }
})
