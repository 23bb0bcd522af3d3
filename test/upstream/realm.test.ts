import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bounds } from '../../src/upstream/bounds.ts'
import { parseRealm } from '../../src/upstream/realm.ts'

const realms = [new URL('https://auth.docker.io')]

interface Case {
  readonly registry?: string
  readonly realm: string
  /** Whether it may be asked without credentials, and with them. */
  readonly anonymous: boolean
  readonly secret: boolean
}

const table: readonly Case[] = [
  { realm: 'https://registry.example/token?rid=1', anonymous: true, secret: true },
  { realm: 'https://auth.docker.io/token', anonymous: true, secret: true },
  { realm: 'https://auth.docker.io:8443/token', anonymous: true, secret: false },
  { realm: 'https://evil.example/token', anonymous: true, secret: false },
  { realm: 'https://auth.registry.example/token', anonymous: true, secret: false },
  { realm: 'https://registry.example:444/token', anonymous: true, secret: false },
  { realm: 'http://registry.example/token', anonymous: false, secret: false },
  { realm: 'http://auth.docker.io/token', anonymous: false, secret: false },
  { realm: 'https://169.254.169.254/token', anonymous: false, secret: false },
  { realm: 'https://[::ffff:169.254.169.254]/token', anonymous: false, secret: false },
  { realm: 'https://0x7f.1/token', anonymous: false, secret: false },
  { realm: 'https://localhost/token', anonymous: false, secret: false },
  { realm: 'https://user:pass@registry.example/token', anonymous: false, secret: false },
  { realm: 'ftp://registry.example/token', anonymous: false, secret: false },
  { realm: '/token', anonymous: false, secret: false },
  { realm: '', anonymous: false, secret: false },
  { registry: 'http://127.0.0.1:5000', realm: 'http://127.0.0.1:5000/token', anonymous: true, secret: true },
  { registry: 'http://127.0.0.1:5000', realm: 'http://127.0.0.1:5001/token', anonymous: true, secret: false },
  { registry: 'http://registry.lan:5000', realm: 'http://registry.lan:5001/token', anonymous: true, secret: false },
  { registry: 'http://registry.lan:5000', realm: 'http://other.lan/token', anonymous: false, secret: false },
  { registry: 'http://registry.example', realm: 'http://127.0.0.1/token', anonymous: false, secret: false },
  { registry: 'http://registry.example', realm: 'http://a.localhost/token', anonymous: false, secret: false },
  { registry: 'http://10.0.0.5', realm: 'http://10.0.0.6/token', anonymous: true, secret: false },
  { registry: 'https://10.0.0.5', realm: 'https://[fd00::6]/token', anonymous: true, secret: false },
  { realm: 'https://[64:ff9b::169.254.169.254]/token', anonymous: false, secret: false },
]

for (const { registry = 'https://registry.example', realm, anonymous, secret } of table) {
  test(`P8: ${registry} may send us to «${realm}»: ${anonymous ? 'yes' : 'no'}, with credentials: ${secret ? 'yes' : 'no'}`, () => {
    const check = (withSecret: boolean): boolean => {
      try {
        const upstream = new URL(registry)
        const bounds = new Bounds({ upstream, realms })
        return parseRealm(realm, { registry: upstream, realms, secret: withSecret, bounds }) instanceof URL
      } catch (error) {
        assert.equal((error as Error).name, 'UpstreamError')
        return false
      }
    }
    assert.equal(check(false), anonymous)
    assert.equal(check(true), secret)
  })
}

test('P10: a realm that gets no credentials is named, with what to do', () => {
  const registry = new URL('https://registry.example')
  const bounds = new Bounds({ upstream: registry, realms })
  const options = { registry, realms, secret: true, bounds }
  assert.throws(() => parseRealm('https://evil.example/token', options), {
    message:
      'the token server evil.example is not one that credentials for registry.example may go to; add it to realms',
  })
})
