// Every refusal is one line: where, what was found, what was expected.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { minimal, refusal } from './given.ts'

const listen = 'an address to listen on, such as :5000, 127.0.0.1:5000 or [::1]:5000'

type Refusals = readonly (readonly [yaml: string, message: string])[]

function refuses(behaviour: string, refusals: Refusals): void {
  test(behaviour, () => {
    for (const [yaml, message] of refusals) assert.equal(refusal(yaml), message)
  })
}

refuses('an unknown key is refused with the nearest one', [
  [`${minimal}http: { adr: ':5000' }`, 'http.adr: unknown key; did you mean http.addr?'],
  [`${minimal}http: { ADDR: ':5000' }`, 'http.ADDR: unknown key; did you mean http.addr?'],
  [`${minimal}htpp: { addr: ':5000' }`, 'htpp: unknown key; did you mean http?'],
  [`${minimal}rootdirectory: /data`, 'rootdirectory: unknown key; did you mean storage.filesystem.rootdirectory?'],
  ['version: 0.1\nstorage: { filesystem: { rootdir: /data } }', 'storage.filesystem.rootdir: unknown key'],
  [
    `${minimal}proxy: { upstreams: { ghcr.io: { uri: https://ghcr.io } } }`,
    'proxy.upstreams.ghcr.io.uri: unknown key; did you mean proxy.upstreams.ghcr.io.url?',
  ],
  [`${minimal}log: { hooks: [{ typ: mail }] }`, 'log.hooks[0].typ: unknown key; did you mean log.hooks[0].type?'],
  [`${minimal}http: { adr: }`, 'http.adr: unknown key; did you mean http.addr?'],
  [`${minimal}entirely: different`, 'entirely: unknown key'],
  [`${minimal}auth: ldap`, 'auth.ldap: unknown key'],
  ['version: 0.1\nstorage: filesytem', 'storage.filesytem: unknown key; did you mean storage.filesystem?'],
])

refuses('a value of the wrong kind is refused', [
  ['storage: inmemory', 'version: missing, expected 0.1'],
  ['version: 0.2', 'version: found "0.2", expected 0.1'],
  ['', 'version: missing, expected 0.1'],
  ['version: 0.1', 'storage: missing, expected one storage driver: filesystem or inmemory'],
  ['version: 0.1\nstorage:', 'storage: missing, expected one storage driver: filesystem or inmemory'],
  ['version: 0.1\nstorage: [inmemory]', 'storage: found a list, expected a map'],
  [`${minimal}http: 5000`, 'http: found text, expected a map'],
  [`${minimal}http: { addr: { host: a } }`, 'http.addr: found a map, expected text'],
  ['version: 0.1\nstorage: { inmemory: , verify: }', 'storage.verify: found nothing, expected first, always or never'],
  [`${minimal}http: { addr: 5000 }`, `http.addr: found "5000", expected ${listen}`],
  [`${minimal}http: { net: udp }`, 'http.net: found "udp", expected tcp or unix'],
  [
    `${minimal}http: { net: unix }`,
    'http.addr: missing, expected the path of a unix socket, of at most 107 bytes, beside net: unix',
  ],
  [`${minimal}http: { headers: { X-A: b } }`, 'http.headers.X-A: found text, expected a list'],
  [
    `${minimal}http: { headers: { Transfer-Encoding: [chunked] } }`,
    'http.headers.Transfer-Encoding: each answer says itself how long it is',
  ],
  [`${minimal}http: { headers: { "X A": [b] } }`, 'http.headers: found "X A", expected the name of a header'],
  [
    `${minimal}http: { headers: { X-A: ["b\\nc"] } }`,
    'http.headers.X-A[0]: found a value that is not shown here, expected the text of a header, without line breaks',
  ],
  [
    `${minimal}http: { prefix: registry }`,
    'http.prefix: found "registry", expected a path that begins and ends with /',
  ],
  [`${minimal}http: { relativeurls: constructor }`, 'http.relativeurls: found "constructor", expected true or false'],
  [`${minimal}http: { relativeurls: 1 }`, 'http.relativeurls: found "1", expected true or false'],
  [`${minimal}log: { level: loud }`, 'log.level: found "loud", expected error, warn, info or debug'],
  [`${minimal}log: { formatter: xml }`, 'log.formatter: found "xml", expected text, json or logstash'],
  [`${minimal}catalog: { maxentries: many }`, 'catalog.maxentries: found "many", expected a whole number'],
  [`${minimal}tags: { maxtags: -1 }`, 'tags.maxtags: found "-1", expected a whole number, 0 or more'],
  [
    `${minimal}http: { draintimeout: 600h }`,
    'http.draintimeout: found "600h", expected a duration of at most 24 days, such as 30s',
  ],
  [
    `${minimal}http: { draintimeout: soon }`,
    'http.draintimeout: found "soon", expected a duration of at most 24 days, such as 30s',
  ],
  [
    `${minimal}proxy: { freshness: 5 }`,
    'proxy.freshness: found "5", expected a duration with its unit, such as 30s, 15m or 7d',
  ],
  [
    `${minimal}proxy: { timeouts: { idle: 0s } }`,
    'proxy.timeouts.idle: found "0s", expected a duration with its unit, from 1ms to 8d, such as 10s',
  ],
  [
    `${minimal}proxy: { cache: { maxsize: big } }`,
    'proxy.cache.maxsize: found "big", expected a size such as 64MiB, 10GB or 1024',
  ],
])

refuses('what would be unsafe or elsewhere than asked is refused, not ignored', [
  [
    'version: 0.1\nstorage: { s3: { bucket: b, region: r } }',
    'storage.s3: this driver is not supported yet, expected filesystem or inmemory',
  ],
  [
    'version: 0.1\nstorage: { filesystem: , inmemory: }',
    'storage: found filesystem and inmemory, expected exactly one storage driver',
  ],
  [
    'version: 0.1\nstorage: { inmemory: , cache: { blobdescriptor: redis } }',
    'storage.cache.blobdescriptor: found "redis", but redis.addr is missing',
  ],
  [
    `${minimal}redis: { addrs: [a:1, b:2] }`,
    'redis.addrs: found 2 addresses, expected one: clusters are not supported yet',
  ],
  [
    `${minimal}redis: { addr: a:1, mastername: main }`,
    'redis.mastername: sentinels are not supported yet, expected the address of one redis',
  ],
])

test('YAML that does not parse is refused with its file, line and column', () => {
  assert.match(refusal('version: 0.1\nhttp: {addr: :5000\n'), /config\.yml:3:1: not YAML: \w/)
  assert.match(refusal('version: 0.1\nversion: 0.1\n'), /config\.yml:2:1: not YAML: Map keys must be unique/)
  assert.match(refusal('a: 1\n---\nb: 2\n'), /config\.yml:\d+:\d+: not YAML: \w/)
  assert.match(refusal('a: &a { b: *a }'), /config\.yml:1:1: not YAML: an alias stands inside its own anchor$/)
  assert.match(refusal('just words'), /config\.yml: found no keys, expected a map such as version: 0\.1$/)
})
