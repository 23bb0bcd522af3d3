// Whom we ask, and with which credentials.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ProxyConfig, UpstreamConfig } from '../../src/config/config.ts'
import { cwd, folder, load, minimal, refusal } from './given.ts'

function proxyOf(yaml: string): ProxyConfig {
  const { config, warnings } = load(`${minimal}proxy:\n  ${yaml}`)
  assert.deepEqual(warnings, [])
  return config.proxy ?? assert.fail('no proxy')
}

function upstreamOf(keys: string, name = 'ghcr.io'): UpstreamConfig {
  const [upstream] = proxyOf(`upstreams: { ${name}: { url: https://ghcr.io, ${keys} } }`).upstreams
  return upstream ?? assert.fail('no upstream')
}

test('remoteurl makes one default upstream without a name', () => {
  const { upstreams, hosted, freshness, offline, timeouts } = proxyOf('remoteurl: https://mirror.example:8443/sub')
  assert.deepEqual(
    upstreams.map(({ url, ...upstream }) => ({ ...upstream, url: url.href })),
    [
      {
        name: undefined,
        url: 'https://mirror.example:8443/sub',
        default: true,
        freshness: 300_000,
        credentials: { kind: 'anonymous' },
        realms: [],
        aliases: [],
        library: false,
      },
    ],
  )
  assert.deepEqual(
    { hosted, freshness, offline, timeouts },
    {
      hosted: ['local/**'],
      freshness: 300_000,
      offline: false,
      timeouts: { connect: 5000, firstByte: 10_000, idle: 15_000 },
    },
  )
})

test('an upstream has the freshness of the proxy, or its own', () => {
  const { freshness, upstreams } = proxyOf(
    'freshness: 0s\n  upstreams: { a: { url: http://a }, b: { url: http://b, freshness: 1h } }',
  )
  assert.deepEqual([freshness, ...upstreams.map((upstream) => upstream.freshness)], [0, 0, 3_600_000])
})

test('a lone upstream is the default only where it says so', () => {
  assert.equal(upstreamOf('').default, false)
  assert.equal(upstreamOf('default: true').default, true)
})

test('Docker Hub is known by its names, its token server and its library', () => {
  for (const yaml of [
    'remoteurl: https://registry-1.docker.io',
    'upstreams: { hub: { url: https://registry-1.docker.io } }',
  ]) {
    const [hub] = proxyOf(yaml).upstreams
    assert.deepEqual(hub?.aliases, ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])
    assert.deepEqual(hub.realms.map(String), ['https://auth.docker.io/'])
    assert.equal(hub.library, true)
  }
  const [mirrored] = proxyOf('upstreams: { docker.io: { url: https://mirror.gcr.io, library: false } }').upstreams
  assert.deepEqual(mirrored?.aliases, ['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])
  assert.deepEqual([mirrored.realms, mirrored.library], [[], false])
})

test('where several upstreams are Docker Hub, its names mean one of them, and never another upstream', () => {
  const { upstreams } = proxyOf(`upstreams:
    team: { url: https://registry-1.docker.io }
    main: { url: https://registry-1.docker.io, default: true, aliases: [hub.example.com] }
    other: { url: https://other.example.com, aliases: [index.docker.io] }`)
  assert.deepEqual(
    upstreams.map((upstream) => upstream.aliases),
    [[], ['hub.example.com', 'docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'], ['index.docker.io']],
  )
})

test('realms add to those that are known', () => {
  const keys = 'realms: [https://auth.example.com, https://auth.example.com/]'
  assert.deepEqual(upstreamOf(keys).realms.map(String), ['https://auth.example.com/'])
})

test('credentials come in one of four forms', () => {
  using files = folder({ secret: 'from a file\r\n\n' })
  const cases: readonly (readonly [keys: string, credentials: UpstreamConfig['credentials']])[] = [
    ['username: "", password: ""', { kind: 'anonymous' }],
    ['username: me, password: 0123', { kind: 'password', username: 'me', password: '0123' }],
    [`username: me, passwordfile: ${files.path}/secret`, { kind: 'password', username: 'me', password: 'from a file' }],
    ['authfile: ~/.docker/config.json', { kind: 'authfile', path: '/home/me/.docker/config.json' }],
    ['authfile: auth.json', { kind: 'authfile', path: `${cwd}/auth.json` }],
    ['exec: { command: helper }', { kind: 'exec', command: 'helper', lifetime: undefined }],
    ['exec: { command: helper, lifetime: 0 }', { kind: 'exec', command: 'helper', lifetime: 0 }],
    ['exec: { command: helper, lifetime: 1h }', { kind: 'exec', command: 'helper', lifetime: 3_600_000 }],
  ]
  for (const [keys, credentials] of cases) assert.deepEqual(upstreamOf(keys).credentials, credentials, keys)
  const [only] = proxyOf('remoteurl: https://a\n  username: me\n  password: yes').upstreams
  assert.deepEqual(only?.credentials, { kind: 'password', username: 'me', password: 'yes' })
})

test('upstreams that contradict themselves or each other are refused', () => {
  using files = folder({ empty: '\n' })
  const one = (keys: string): string => `upstreams: { a: { url: https://a.io, ${keys} } }`
  const urlForm = 'an http or https URL with a host, without query or fragment'
  const cases: readonly (readonly [yaml: string, message: string])[] = [
    [
      'remoteurl: https://a\n  upstreams: { b: { url: https://b } }',
      'proxy.remoteurl: found beside proxy.upstreams, expected one of them',
    ],
    [
      'username: me\n  upstreams: { b: { url: https://b } }',
      'proxy.username: belongs to proxy.remoteurl, expected it inside one of proxy.upstreams',
    ],
    ['upstreams: { a: }', 'proxy.upstreams.a.url: missing, expected an http or https URL'],
    ['remoteurl: registry-1.docker.io', `proxy.remoteurl: found "registry-1.docker.io", expected ${urlForm}`],
    ['remoteurl: ftp://a', `proxy.remoteurl: found "ftp://a", expected ${urlForm}`],
    ['remoteurl: https://', `proxy.remoteurl: found "https://", expected ${urlForm}`],
    ['remoteurl: "https://a/#b"', `proxy.remoteurl: found "https://a/#b", expected ${urlForm}`],
    ['remoteurl: https://a/?key=value', `proxy.remoteurl: found "https://a/?…", expected ${urlForm}`],
    [
      'remoteurl: https://me:secret@a',
      'proxy.remoteurl: holds a user name or password; write them as username and password or passwordfile',
    ],
    [
      'upstreams: { a: { url: https://me@a } }',
      'proxy.upstreams.a.url: holds a user name or password; write them as username and password or passwordfile',
    ],
    [
      'upstreams: { "a/b": { url: https://a } }',
      'proxy.upstreams: found "a/b", expected a name of lower-case letters and digits joined by . _ or -',
    ],
    [
      'upstreams: { "a:5000": { url: https://a } }',
      'proxy.upstreams: found "a:5000", expected a name of lower-case letters and digits joined by . _ or -',
    ],
    [
      one('username: me'),
      'proxy.upstreams.a.username: found without a password, expected password or passwordfile beside it',
    ],
    [one('password: p'), 'proxy.upstreams.a.username: missing, expected beside password'],
    [
      one('username: me, password: p, passwordfile: f'),
      'proxy.upstreams.a.passwordfile: found beside password, expected one form of credentials',
    ],
    [
      one('exec: { command: c }, authfile: f'),
      'proxy.upstreams.a.authfile: found beside exec, expected one form of credentials',
    ],
    [one('exec: { lifetime: 1h }'), 'proxy.upstreams.a.exec.command: missing, expected a credential helper'],
    [
      one('username: me, passwordfile: /does/not/exist'),
      'proxy.upstreams.a.passwordfile: /does/not/exist cannot be read: ENOENT',
    ],
    [
      one(`username: me, passwordfile: ${files.path}/empty`),
      `proxy.upstreams.a.passwordfile: ${files.path}/empty is empty, expected a password in it`,
    ],
    [
      'upstreams: { a: { url: https://a, default: true }, b: { url: https://b, default: true } }',
      'proxy.upstreams: found more than one with default: true, expected one at most',
    ],
    [
      'upstreams: { a: { url: https://a }, b: { url: https://b, aliases: [A] } }',
      `proxy.upstreams.b.aliases: "a" is another upstream's name or alias, or stands twice`,
    ],
    [
      'upstreams: { a: { url: https://a, aliases: [c] }, b: { url: https://b, aliases: [c] } }',
      `proxy.upstreams.b.aliases: "c" is another upstream's name or alias, or stands twice`,
    ],
    ['hosted: [/local]', 'proxy.hosted[0]: found "/local", expected a glob of repository names, such as local/**'],
    ['hosted: local/**', 'proxy.hosted: found text, expected a list'],
  ]
  for (const [yaml, message] of cases) assert.equal(refusal(`${minimal}proxy:\n  ${yaml}`), message)
})

test('a proxy section without an upstream is a plain registry, and says so', () => {
  const { config, warnings } = load(`${minimal}proxy: { remoteurl: '', freshness: 1m }`)
  assert.equal(config.proxy, undefined)
  assert.deepEqual(warnings, ['proxy has neither remoteurl nor upstreams, so this is a plain registry'])
})

test('copies stay for ever unless a bound or a time to live is given', () => {
  assert.deepEqual(proxyOf('remoteurl: https://a').cache, { maxSize: undefined, ttl: 0, pins: [] })
  assert.deepEqual(proxyOf('remoteurl: https://a\n  cache: { maxsize: 0, ttl: 0s }').cache.maxSize, undefined)
  const yaml = `version: 0.1
storage: { filesystem: { rootdirectory: /data } }
proxy: { remoteurl: https://a, cache: { maxsize: 100GiB, ttl: 30d, pin: [library/*, 'org/app:v*'] } }`
  const { config, warnings } = load(yaml)
  assert.deepEqual(warnings, [])
  assert.deepEqual(config.proxy?.cache, {
    maxSize: 100 * 1024 ** 3,
    ttl: 30 * 86_400_000,
    pins: ['library/*', 'org/app:v*'],
  })
})

test('nothing is evicted from memory, and a pin is a glob', () => {
  const proxy = (cache: string): string => `${minimal}proxy: { remoteurl: https://a, cache: ${cache} }`
  assert.equal(
    refusal(proxy('{ maxsize: 1GiB }')),
    'proxy.cache.maxsize: needs storage.filesystem, found storage.inmemory',
  )
  assert.equal(refusal(proxy('{ ttl: 7d }')), 'proxy.cache.ttl: needs storage.filesystem, found storage.inmemory')
  assert.match(refusal(proxy('{ pin: ["a b"] }')), /^proxy\.cache\.pin\[0\]: found "a b", expected a glob/)
})
