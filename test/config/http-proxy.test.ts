// Which proxy upstreams are reached through.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadConfig, type LoadedConfig } from '../../src/config/load.ts'
import { cwd, folder, load, minimal, refusal } from './given.ts'

function proxyOf({ config }: LoadedConfig): unknown {
  const found = config.proxy?.upstreams[0]?.httpProxy
  return found && [found.http?.href, found.https?.href, found.except]
}

const remote = 'remoteurl: https://a'
const own = ['localhost', '127.0.0.0/8', '::1']

test('httpproxy is for all upstreams, or for one, or for a mirror', () => {
  assert.equal(proxyOf(load(`${minimal}proxy: { ${remote} }`)), undefined)
  const p = 'http://me:canary@p:3128/'
  assert.deepEqual(proxyOf(load(`${minimal}proxy: { ${remote}, httpproxy: '${p}' }`)), [p, p, []])
  const { config } = load(`${minimal}
proxy:
  httpproxy: http://p:3128
  upstreams:
    one: { url: https://one, mirrors: [https://mirror, { url: https://other, httpproxy: https://r }] }
    two: { url: https://two, httpproxy: http://q }
    three: { url: https://three, httpproxy: none, mirrors: [https://mirror] }
`)
  const [one, two, three] = config.proxy?.upstreams ?? []
  const hosts = [one, ...(one?.mirrors ?? []), two, three, ...(three?.mirrors ?? [])].map(
    (each) => each?.httpProxy?.https?.host,
  )
  assert.deepEqual(hosts, ['p:3128', 'p:3128', 'r', 'q', undefined, undefined])
})

test('the URL may stand in a file', () => {
  using files = folder({ proxy: 'http://me:canary@p:3128\n' })
  const loaded = load(`${minimal}proxy: { ${remote}, httpproxyfile: ${join(files.path, 'proxy')} }`)
  assert.deepEqual(proxyOf(loaded), ['http://me:canary@p:3128/', 'http://me:canary@p:3128/', []])
})

test('without it, the environment says which, and what is reached without', () => {
  const yaml = `${minimal}proxy: { ${remote} }`
  const env = {
    HTTPS_PROXY: 'http://p:1',
    http_proxy: 'q:2',
    HTTP_PROXY: 'http://r',
    NO_PROXY: 'a.example, .b  10.0.0.0/8,',
  }
  assert.deepEqual(proxyOf(load(yaml, env)), ['http://q:2/', 'http://p:1/', [...own, 'a.example', '.b', '10.0.0.0/8']])
  assert.deepEqual(proxyOf(load(yaml, { https_proxy: 'http://p:1' })), [undefined, 'http://p:1/', own])
  assert.equal(proxyOf(load(`${minimal}proxy: { ${remote}, httpproxy: none }`, env)), undefined)
  assert.deepEqual(proxyOf(loadConfig({ env: { HTTPS_PROXY: 'http://p:1' }, cwd })), [undefined, 'http://p:1/', own])
})

test('P9: a variable that cannot be used is said without what it holds, and passed over', () => {
  const { warnings, ...loaded } = load(`${minimal}proxy: { ${remote} }`, { HTTPS_PROXY: 'socks5://me:canary@p:1' })
  assert.equal(proxyOf({ ...loaded, warnings }), undefined)
  assert.deepEqual(warnings, ['HTTPS_PROXY is not the http or https URL of a proxy and is ignored'])
})

test('P8: what is no proxy is refused without showing it', () => {
  using files = folder({ proxy: 'canary' })
  const expected = 'expected the http or https URL of a proxy, such as http://proxy.example:3128, or none'
  for (const text of [
    'socks5://me:canary@p:1',
    'me:canary@p',
    'http://me:canary@p/path',
    'http://me:canary%@p',
    'canary',
  ]) {
    assert.equal(refusal(`${minimal}proxy: { ${remote}, httpproxy: '${text}' }`), `proxy.httpproxy: ${expected}`)
  }
  const file = `httpproxyfile: ${join(files.path, 'proxy')}`
  assert.equal(
    refusal(`${minimal}proxy: { ${remote}, ${file} }`),
    `proxy.httpproxyfile: ${join(files.path, 'proxy')} does not hold the http or https URL of a proxy, such as http://proxy.example:3128`,
  )
  assert.match(
    refusal(`${minimal}proxy: { ${remote}, httpproxy: http://p, ${file} }`),
    /^proxy\.httpproxyfile: found beside/,
  )
  const one = refusal(`${minimal}proxy: { upstreams: { a: { url: https://a, httpproxy: 'x:canary' } } }`)
  assert.equal(one, `proxy.upstreams.a.httpproxy: ${expected}`)
})
