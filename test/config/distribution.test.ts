// Files written for CNCF distribution are read as they are; what has no effect yet is named.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load, minimal, refusal } from './given.ts'

/** Of the `registry:2` image. */
const registry2 = `
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
`

test('the file of the registry:2 image is read', () => {
  const { config, warnings } = load(registry2)
  assert.deepEqual(config, {
    log: { level: 'info', format: undefined, fields: { service: 'registry' }, hooks: [] },
    http: {
      host: '',
      port: 5000,
      socket: undefined,
      prefix: '/',
      externalUrl: undefined,
      secret: undefined,
      relativeUrls: false,
      drainTimeout: 30_000,
      headers: { 'X-Content-Type-Options': ['nosniff'] },
      debug: undefined,
      tls: undefined,
      limits: { connections: 0, requests: 0, rate: 0, headerTime: 60_000, idle: 120_000, keepAlive: 75_000 },
      trustedProxies: [],
      sendfile: true,
    },
    storage: {
      driver: 'filesystem',
      rootDirectory: '/var/lib/registry',
      maxThreads: 100,
      deleteEnabled: false,
      readOnly: false,
      verify: 'first',
      scrub: { enabled: false, interval: 604_800_000, rate: 20_971_520 },
      uploadPurging: { enabled: true, age: 604_800_000, interval: 86_400_000, dryRun: false },
      descriptorCache: { kind: 'inmemory', size: 10_000 },
    },
    redis: undefined,
    auth: undefined,
    catalog: { maxEntries: 1000 },
    tags: { maxTags: 1000 },
    proxy: undefined,
    notifications: {
      includeReferences: false,
      queue: { maxEvents: 100_000, maxSize: 64 * 1024 * 1024 },
      endpoints: [],
    },
    validation: {
      disabled: false,
      urls: { allow: [], deny: [] },
      indexes: { platforms: 'all', platformList: [] },
    },
    policy: { classes: [] },
    schema1: { enabled: false, keyFile: undefined },
    middleware: { registry: [], repository: [], storage: [] },
    health: { storage: { interval: 10_000, threshold: 3 }, files: [], http: [], tcp: [] },
    tracing: undefined,
  })
  assert.deepEqual(warnings, [])
})

test('the file of the registry:3 image is read', () => {
  const { config, warnings } = load(`
version: 0.1
log: { level: debug, fields: { service: registry, environment: development } }
storage:
    delete: { enabled: true }
    cache: { blobdescriptor: inmemory }
    filesystem: { rootdirectory: /var/lib/registry }
    maintenance: { uploadpurging: { enabled: false } }
    tag: { concurrencylimit: 8 }
http:
    addr: :5000
    debug: { addr: :5001, prometheus: { enabled: true, path: /metrics } }
    headers: { X-Content-Type-Options: [nosniff] }
health: { storagedriver: { enabled: true, interval: 10s, threshold: 3 } }
`)
  assert.deepEqual([config.log.level, config.storage.deleteEnabled], ['debug', true])
  assert.deepEqual(config.http.debug, { host: '', port: 5001, metricsPath: '/metrics' })
  assert.deepEqual(warnings, ['storage.tag.concurrencylimit is not supported yet and has no effect'])
})

test('a version 2 mirror with redis is read', () => {
  const { config, warnings } = load(`
version: 0.1
loglevel: WARN
log: { formatter: logstash, accesslog: { disabled: true } }
storage:
  cache: { layerinfo: redis }
  filesystem: { rootdirectory: cache, maxthreads: 10 }
http: { addr: 'localhost:5000', host: 'https://mirror.example.com', prefix: /a/, secret: 0123, draintimeout: 60s, relativeurls: yes }
redis:
  addr: redis:6379
  password: 0456
  db: 3
  dialtimeout: 10ms
  readtimeout: 10000000
  pool: { maxidle: 16, maxactive: 64, idletimeout: 300s }
  tls: { enabled: true }
proxy: { remoteurl: 'https://registry-1.docker.io', username: me, password: 789, ttl: 168h }
compatibility: { schema1: { enabled: true } }
reporting: { bugsnag: { apikey: k }, newrelic: { licensekey: } }
notifications: { endpoints: [{ name: a, disabled: true, url: https://a }, { name: b, url: https://b, headers: { A: [b] } }] }
`)
  assert.deepEqual(config.log, { level: 'warn', format: 'json', fields: {}, hooks: [] })
  assert.deepEqual(config.redis, {
    host: 'redis',
    port: 6379,
    username: undefined,
    password: '0456',
    db: 3,
    tls: true,
    dialTimeout: 10,
    patience: 10,
  })
  assert.equal(config.http.externalUrl?.href, 'https://mirror.example.com/')
  const { host, port, prefix, secret, drainTimeout, relativeUrls } = config.http
  assert.deepEqual(
    [host, port, prefix, secret, drainTimeout, relativeUrls],
    ['localhost', 5000, '/a/', '0123', 60_000, true],
  )
  assert.deepEqual(config.storage.descriptorCache, { kind: 'redis', size: 10_000 })
  assert.equal(config.storage.rootDirectory, '/srv/registry/cache')
  assert.equal(config.storage.maxThreads, 25)
  assert.deepEqual(warnings, [
    'redis.pool is not supported yet and has no effect',
    'proxy.ttl is not supported yet and has no effect',
    'reporting.bugsnag is not supported yet and has no effect',
    'storage.filesystem.maxthreads is 10; the least is 25, which is used',
    'log.formatter: logstash is not supported yet; json is used',
  ])
})

test('a version 3 file with all that is not built yet is read', () => {
  const { config, warnings } = load(`
version: 0.1
log: { level: info, formatter: json, reportcaller: true, hooks: [{ type: mail, levels: [panic], options: { smtp: { addr: 'm:25', insecure: true }, to: [a@b] } }] }
storage:
  inmemory:
  redirect: { disable: true }
  cache: { blobdescriptor: redis, blobdescriptorsize: 500 }
  maintenance: { readonly: { enabled: true }, uploadpurging: { enabled: true, age: 168h, interval: 1h, dryrun: false } }
middleware: { storage: [{ name: redirect, options: { baseurl: https://cdn.example.com/ } }], registry: [{ name: x, disabled: true }] }
http: { http2: { disabled: true }, h2c: { enabled: true }, tls: { minimumtls: tls1.2 } }
redis: { addrs: ['[::1]:6380'], username: u, poolsize: 64, routerandomly: false, tls: { rootcas: [ca.pem] } }
health: { file: [{ file: /down, interval: 10s }], http: [{ uri: https://a, statuscode: 200, headers: { A: [b] } }], tcp: [{ addr: 'a:1' }] }
proxy: { remoteurl: 'https://quay.io', exec: { command: helper, lifetime: 1h }, ttl: 0, cachewritetimeout: 5m }
validation: { manifests: { urls: { allow: ['^https?://a/'] }, indexes: { platforms: list, platformlist: [{ architecture: amd64, os: linux }] } } }
policy: { repository: { classes: [image] } }
tags: { maxtags: 50 }
catalog: { maxentries: -1 }
auth: none
`)
  assert.deepEqual([config.storage.readOnly, config.tags.maxTags, config.catalog.maxEntries], [true, 50, 1000])
  assert.deepEqual([config.redis?.host, config.redis?.port, config.redis?.tls], ['::1', 6380, true])
  assert.deepEqual(
    warnings.slice(0, -1),
    [
      'log.reportcaller',

      'http.h2c.enabled',
      'redis.tls.rootcas',
      'redis.poolsize',
      'proxy.cachewritetimeout',
    ].map((path) => `${path} is not supported yet and has no effect`),
  )
  assert.equal(warnings.at(-1), 'middleware.storage has no effect beside storage.redirect.disable: true')
})

test('what is off, empty or as it is anyway needs no warning', () => {
  const { warnings } = load(`${minimal}
auth:
log: { hooks: [{ type: mail, disabled: true }], reportcaller: false }
health: { storagedriver: { enabled: false, interval: 10s, threshold: 3 }, file: [] }
notifications: { events: { includereferences: false }, endpoints: }
validation: { disabled: true, manifests: { urls: { allow: [a] } } }
http: { debug: { prometheus: { enabled: false, path: /metrics } }, tls: , h2c: { enabled: false } }
compatibility: { schema1: { enabled: false, signingkeyfile: key.json } }
proxy: { remoteurl: https://a, fill: { connections: 1, minsize: 64MiB, retries: 3 }, cache: { ttl: 0s } }
`)
  assert.deepEqual(warnings, [])
})

test('an unknown cache, a boundless one and a redis without an address are coped with', () => {
  const { config, warnings } = load(`
version: 0.1
storage: { inmemory: , cache: { blobdescriptor: memcached, blobdescriptorsize: 0 } }
redis: { db: 1 }
`)
  assert.deepEqual(config.storage.descriptorCache, { kind: 'none', size: 10_000 })
  assert.equal(config.redis, undefined)
  assert.deepEqual(warnings, [
    'storage.cache.blobdescriptorsize is 0; a cache without bound is not offered, 10000 is used',
    'storage.cache.blobdescriptor names no cache we know (inmemory, redis), so none is used',
    'redis has neither addr nor addrs, so no redis is used',
  ])
})

test('a prefix may do without its last slash, and what is quoted is what it is without quotes', () => {
  const { config } = load(`
version: "0.1"
storage: { inmemory: , delete: { enabled: "true" } }
http: { prefix: /a/b, draintimeout: "10000000000", relativeurls: "yes" }
catalog: { maxentries: "50" }
`)
  const { prefix, drainTimeout, relativeUrls } = config.http
  assert.deepEqual([prefix, drainTimeout, relativeUrls], ['/a/b/', 10_000, true])
  assert.deepEqual([config.storage.deleteEnabled, config.catalog.maxEntries], [true, 50])
})

test('what distribution takes and is more likely a mistake is refused', () => {
  for (const [keys, key] of [
    ['http: { draintimeout: -1s }', 'http.draintimeout'],
    ['http: { draintimeout: 1_000 }', 'http.draintimeout'],
    ['http: { addr: ":https" }', 'http.addr'],
    ['http: { host: a.example }', 'http.host'],
    ['catalog: { maxentries: 0x10 }', 'catalog.maxentries'],
    ['catalog: { maxentries: 10.0 }', 'catalog.maxentries'],
  ] as const) {
    assert.ok(refusal(`${minimal}${keys}`).startsWith(`${key}: found `), keys)
  }
})

test('anchors and merge keys are understood', () => {
  const { config } = load(`
version: 0.1
storage: &storage { inmemory: , delete: { enabled: true } }
http: { headers: { X-A: &list [b], X-B: *list } }
proxy: { upstreams: { a: &a { url: 'https://a', freshness: 1h }, b: { <<: *a, url: 'https://b' } } }
`)
  assert.deepEqual(config.http.headers, { 'X-A': ['b'], 'X-B': ['b'] })
  assert.deepEqual(
    config.proxy?.upstreams.map((upstream) => [upstream.url.href, upstream.freshness]),
    [
      ['https://a/', 3_600_000],
      ['https://b/', 3_600_000],
    ],
  )
})

test('redis.readtimeout is how long an answer is waited for, within what a request can bear', () => {
  const cases: ReadonlyArray<[string, number]> = [
    ['', 50],
    ['readtimeout: 0', 50],
    ['readtimeout: 200ms', 200],
    ['readtimeout: 3s', 1000],
  ]
  for (const [line, patience] of cases) {
    const { config, warnings } = load(`
version: 0.1
storage: { inmemory: {}, cache: { blobdescriptor: redis } }
redis: { addr: 'redis:6379', ${line} }
`)
    assert.equal(config.redis?.patience, patience, line)
    assert.deepEqual(warnings, [])
  }
})

test('redis.writetimeout is said to have no effect', () => {
  const { warnings } = load(`
version: 0.1
storage: { inmemory: {}, cache: { blobdescriptor: redis } }
redis: { addr: 'redis:6379', writetimeout: 3s }
`)
  assert.deepEqual(warnings, ['redis.writetimeout is not supported yet and has no effect'])
})
