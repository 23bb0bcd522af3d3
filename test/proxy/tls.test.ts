// T-26: what clients hear of an upstream whose certificate proves nothing.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ask, pull } from '../support/client.ts'
import { makeAuthority, selfSigned, type Certified } from '../support/certificates.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import { startProxyUnderTest } from '../support/proxy-under-test.ts'
import { tlsFront } from '../support/tls-front.ts'

const names = ['origin.test'] // as the proxy under test calls its upstream
const authority = makeAuthority()
const good = authority.issue({ names })

const troubles: ReadonlyArray<[what: string, certified: Certified, because: string]> = [
  ['has expired', authority.issue({ names, validTo: -0.5 }), 'has expired'],
  ['is another host’s', authority.issue({ names: ['other.test'] }), 'is for another host'],
  ['is signed by itself', selfSigned({ names }), 'is signed by nobody who is trusted here'],
]

suite('an upstream over TLS', () => {
  for (const [what, certified, because] of troubles) {
    test(`T-26, P3, P10: its certificate ${what}: what is here is served, all else is a 502 that says so`, async () => {
      await using origin = await startOrigin()
      const { layers, manifest } = await origin.addImage('app', 'v1', [randomBlob(100_000).bytes])
      const other = await origin.addImage('app', 'v2', [randomBlob(100_000).bytes])
      await using front = await tlsFront(new URL(origin.url), good, { hostname: 'origin.test' })
      await using app = await startProxyUnderTest(front, { tls: { ca: authority.certificate } })
      const here = [`manifests/${manifest}`, `blobs/${layers[0]}`]
      for (const path of ['manifests/v1', ...here]) {
        assert.equal((await pull(`${app.url}/v2/up/app/${path}`)).status, 200)
      }
      const asked = origin.seen.length
      front.use(certified)
      front.cut()

      for (const path of here) {
        const { status, digest, complete } = await pull(`${app.url}/v2/up/app/${path}`)
        assert.deepEqual({ status, complete, digest }, { status: 200, complete: true, digest: path.split('/')[1] })
      }
      const sentence = `origin.test:${front.url.port} cannot be reached: its certificate ${because}`
      const stale = await pull(`${app.url}/v2/up/app/manifests/v1`)
      assert.deepEqual([stale.status, stale.digest], [200, manifest])
      assert.ok(String(stale.headers.warning).includes(sentence), stale.headers.warning)
      for (const path of ['manifests/v2', `manifests/${other.manifest}`, `blobs/${other.layers[0]}`]) {
        const { status, codes, body } = await ask(`${app.url}/v2/up/app/${path}`)
        assert.deepEqual([status, codes], [502, ['UNAVAILABLE']], path)
        assert.ok(body.toString().includes(sentence), body.toString())
      }
      assert.equal(origin.seen.length, asked) // nothing reached it, in whatever clothes
    })
  }
})
