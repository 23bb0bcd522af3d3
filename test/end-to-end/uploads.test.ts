// An upload outlives the process that took its first bytes.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { ask } from '../support/client.ts'
import { randomBlob } from '../support/origin.ts'
import { startEntrepot, temporaryFolder, until } from '../support/real-parts.ts'

test('T-56, P9: after a kill -9 in the middle of a PATCH, an upload goes on at its true offset', async () => {
  await using folder = await temporaryFolder()
  const config = `version: 0.1
storage: { filesystem: { rootdirectory: ${join(folder.path, 'data')} } }
http: { addr: 127.0.0.1:0, relativeurls: true }
`
  const { bytes, digest } = randomBlob(8 * 1024 * 1024)
  const acknowledged = 3_000_000
  let location = ''
  {
    await using entrepot = await startEntrepot(folder, config)
    const begun = await ask(`${entrepot.url}/v2/app/blobs/uploads/`, { method: 'POST' })
    const patch = { method: 'PATCH', body: bytes.subarray(0, acknowledged) }
    const patched = await ask(entrepot.url + (begun.headers.location ?? ''), patch)
    assert.equal(patched.headers['range'], `0-${acknowledged - 1}`)
    location = patched.headers.location ?? ''
    const cut = request(entrepot.url + location, { agent: false, method: 'PATCH' })
    cut.on('error', () => {}) // the server dies under it
    cut.write(bytes.subarray(acknowledged, acknowledged + 2_000_000))
    await until('bytes of the second chunk arrive', async () => {
      const { headers } = await ask(entrepot.url + location)
      return headers['range'] !== `0-${acknowledged - 1}`
    })
    await entrepot.process.stop('SIGKILL')
    cut.destroy()
    if (!cut.closed) await once(cut, 'close')
  }
  await using entrepot = await startEntrepot(folder, config)
  const status = await ask(entrepot.url + location)
  assert.equal(status.status, 204)
  const offset = Number(/^0-(\d+)$/.exec(String(status.headers['range']))?.[1]) + 1
  assert.ok(offset > acknowledged && offset <= acknowledged + 2_000_000, `${offset}`)
  const stale = await ask(entrepot.url + location, { method: 'PATCH', body: 'x' })
  assert.equal(stale.status, 416)
  const rest = `${status.headers.location ?? ''}&digest=${digest}`
  const done = await ask(entrepot.url + rest, { method: 'PUT', body: bytes.subarray(offset) })
  assert.equal(done.status, 201)
  assert.ok((await ask(`${entrepot.url}/v2/app/blobs/${digest}`)).body.equals(bytes))
})
