// T-76: requests that hide another one, straight to us; behind a real nginx: test/end-to-end/nginx.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'
import { saidTo } from '../support/raw-client.ts'
import { pipelined, smuggled } from '../support/smuggled.ts'

/** Whatever waits for more of a request gives up soon. */
const limits = { headertime: '1s', idle: '1s', keepalive: '1s' }

test('T-76: what is hidden in a request is no request, whatever hides it', async (t) => {
  await using app = await startAppUnderTest({ http: { addr: '127.0.0.1:0', draintimeout: '0s', limits } })
  const answered = (canary: string): number => app.lines.filter(({ repository }) => repository === canary).length
  await t.test('two requests that are two are both seen', async () => {
    assert.match(await saidTo(app.url, pipelined.raw('canary')), /^HTTP\/1\.1 200 [^]*HTTP\/1\.1 404 /)
    assert.equal(answered('canary'), 1)
  })
  const cases = smuggled.entries().map(async ([nth, { what, raw }]) => {
    const canary = `canary-${nth}`
    const said = await saidTo(app.url, raw(canary))
    assert.doesNotMatch(said, /HTTP\/1\.[01] 5/, what)
    assert.equal(answered(canary), 0, `${what}: ${said}`)
  })
  await Promise.all(cases)
  assert.equal((await ask(`${app.url}/v2/`)).status, 200)
  const late = app.lines.filter(({ repository }) => String(repository).startsWith('canary-'))
  assert.deepEqual(late, [], 'nor without an answer')
})
