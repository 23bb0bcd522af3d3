// Whom we ask, and with which credentials.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ProxyConfig } from '../../src/config/proxy-section.ts'
import type { UpstreamConfig } from '../../src/config/upstream-section.ts'
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
  const { upstreams, hosted, freshness, negative, offline, timeouts } = proxyOf(
    'remoteurl: https://mirror.example:8443/sub',
  )
  assert.deepEqual(
    upstreams.map(({ url, ...upstream }) => ({ ...upstream, url: url.href })),
    [
      {
        name: undefined,
        url: 'https://mirror.example:8443/sub',
        default: true,
        freshness: 300_000,
        tags: [],
        onGone: 'serve',
        onDenied: 'serve',
        credentials: { kind: 'anonymous' },
        access: 'ours',
        tls: { ca: undefined, identity: undefined },
        httpProxy: undefined,
        realms: [],
        aliases: ['mirror.example:8443'],
        reserve: 0,
        library: false,
        mirrors: [],
      },
    ],
  )
  assert.deepEqual(
    { hosted, freshness, negative, offline, timeouts },
    {
      hosted: ['local/**'],
      freshness: 300_000,
      negative: 10_000,
      offline: false,
      timeouts: { connect: 5000, firstByte: 10_000, idle: 15_000, stale: 3000 },
    },
  )
})

test('an upstream has the freshness of the proxy, or its own', () => {
  const { freshness, upstreams } = proxyOf(
    'freshness: 0s\n  upstreams: { a: { url: http://a }, b: { url: http://b, freshness: 1h } }',
  )
  assert.deepEqual([freshness, ...upstreams.map((upstream) => upstream.freshness)], [0, 0, 3_600_000])
})

test('tags have the freshness of the first rule that matches them', () => {
  const rules = "tags: [{ match: '^v\\d', freshness: 30d }, { match: latest, freshness: 0s }]"
  const expected = [
    { match: '^v\\d', freshness: 30 * 86_400_000 },
    { match: 'latest', freshness: 0 },
  ]
  assert.deepEqual(upstreamOf(rules).tags, expected)
  assert.deepEqual(proxyOf(`remoteurl: https://a\n  ${rules}`).upstreams[0]?.tags, expected)
})

test('how long a client waits may be left to the limits of the upstream', () => {
  assert.equal(proxyOf('remoteurl: https://a\n  timeouts: { stale: 0s }').timeouts.stale, 0)
})

test('what becomes of tags that are gone or refused is said for all upstreams, or for one', () => {
  const { upstreams } = proxyOf(
    'ongone: forget\n  ondenied: deny\n  upstreams: { a: { url: http://a }, b: { url: http://b, ongone: serve, ondenied: serve } }',
  )
  assert.deepEqual(
    upstreams.map(({ onGone, onDenied }) => [onGone, onDenied]),
    [
      ['forget', 'deny'],
      ['serve', 'serve'],
    ],
  )
  const [only] = proxyOf('remoteurl: https://a\n  ongone: forget').upstreams
  assert.deepEqual([only?.onGone, only?.onDenied], ['forget', 'serve'])
})

test('whose rights decide about copies is said for each upstream', () => {
  using files = folder({ 'auth.json': '{}' })
  const credentials = [
    'username: u, password: p',
    `authfile: ${files.path}/auth.json`,
    'exec: { command: docker-credential-x }',
  ]
  for (const one of credentials) assert.equal(upstreamOf(`access: client, ${one}`).access, 'client')
  assert.equal(upstreamOf('access: ours').access, 'ours')
  const [only] = proxyOf('remoteurl: https://a\n  access: client\n  username: u\n  password: p').upstreams
  assert.equal(only?.access, 'client')
})

test('clients cannot be asked for where nothing could be fetched or asked, nor beside auth', () => {
  const one = (keys: string): string =>
    `${minimal}proxy: { upstreams: { a: { url: http://a, access: client${keys} } } }`
  const needed = 'expected username and passwordfile, authfile or exec beside it'
  const bare = 'found "client" without credentials of ours, which copies are fetched with'
  assert.equal(refusal(one('')), `proxy.upstreams.a.access: ${bare}; ${needed}`)
  const remote = `${minimal}proxy: { remoteurl: http://a, access: client`
  assert.equal(refusal(`${remote} }`), `proxy.access: ${bare}; ${needed}`)
  const known = `${remote}, username: u, password: p`
  assert.equal(
    refusal(`${known}, offline: true }`),
    'proxy.offline: found true beside an upstream with access: client, which has to be asked',
  )
  const two = 'found "client" beside auth: a client has one set of credentials to send, ours or the upstream\'s'
  const auth = '\nauth: { htpasswd: { realm: r, path: /p } }'
  assert.equal(refusal(`${known} }${auth}`), `proxy.access: ${two}`)
  assert.equal(refusal(one(', username: u, password: p') + auth), `proxy.upstreams.a.access: ${two}`)
  assert.equal(load(`${known} }\nauth: { none: {} }`).config.auth, undefined)
  assert.equal(
    refusal(`${minimal}proxy: { access: client, upstreams: { a: { url: http://a } } }`),
    'proxy.access: belongs to proxy.remoteurl, expected it inside one of proxy.upstreams',
  )
})

test('negative answers need not be remembered', () => {
  assert.equal(proxyOf('remoteurl: https://a\n  negative: 0s').negative, 0)
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
    assert.deepEqual(hub?.aliases.toSorted(), [
      'docker.io',
      'index.docker.io',
      'registry-1.docker.io',
      'registry.hub.docker.com',
    ])
    assert.deepEqual(hub.realms.map(String), ['https://auth.docker.io/'])
    assert.equal(hub.library, true)
  }
  const [mirrored] = proxyOf('upstreams: { docker.io: { url: https://mirror.gcr.io, library: false } }').upstreams
  assert.deepEqual(mirrored?.aliases, ['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])
  assert.deepEqual([mirrored.realms, mirrored.library], [[], false])
})

test('Docker Hub is reached, and trusted with credentials, by whichever of its names', () => {
  const login = 'username: me, password: p'
  for (const [host, dialled] of [
    ['docker.io', 'registry-1.docker.io'],
    ['index.docker.io', 'index.docker.io'],
    ['registry.hub.docker.com', 'registry.hub.docker.com'],
  ]) {
    for (const yaml of [
      `{ remoteurl: 'https://${host}', ${login} }`,
      `{ upstreams: { hub: { url: 'https://${host}', ${login} } } }`,
      `{ upstreams: { docker.io: { url: 'https://${host}', ${login} } } }`,
    ]) {
      const [hub] = load(`${minimal}proxy: ${yaml}`).config.proxy?.upstreams ?? []
      assert.equal(hub?.url.href, `https://${dialled}/`)
      assert.deepEqual(hub.realms.map(String), ['https://auth.docker.io/'])
      assert.equal(hub.library, true)
    }
  }
  const [other] = proxyOf('remoteurl: https://docker.io:5000/hub').upstreams
  assert.deepEqual([other?.url.href, other?.realms], ['https://docker.io:5000/hub', []])
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

test('a reserve of pulls belongs to one upstream', () => {
  assert.equal(upstreamOf('').reserve, 0)
  assert.equal(upstreamOf('reserve: 20').reserve, 20)
  assert.equal(proxyOf('remoteurl: https://a\n  reserve: 20').upstreams[0]?.reserve, 20)
})

test('a mirror is a URL, or as much as an upstream has to say about access', () => {
  const { mirrors } = upstreamOf(`mirrors: [
    https://a.example,
    { url: https://b.example, trusted: true, username: me, password: p, realms: [https://auth.b.example] },
    { url: https://registry-1.docker.io }]`)
  assert.deepEqual(
    mirrors.map(({ url, realms, credentials, trusted }) => {
      return { url: url.href, trusted, credentials, realms: realms.map(String) }
    }),
    [
      { url: 'https://a.example/', trusted: false, credentials: { kind: 'anonymous' }, realms: [] },
      {
        url: 'https://b.example/',
        trusted: true,
        credentials: { kind: 'password', username: 'me', password: 'p' },
        realms: ['https://auth.b.example/'],
      },
      {
        url: 'https://registry-1.docker.io/',
        trusted: false,
        credentials: { kind: 'anonymous' },
        realms: ['https://auth.docker.io/'],
      },
    ],
  )
  const [only] = proxyOf('remoteurl: https://a\n  mirrors: [https://b.example]').upstreams
  assert.deepEqual(
    only?.mirrors.map(({ url }) => url.href),
    ['https://b.example/'],
  )
})

test('mirrors come from the environment as well', () => {
  const yaml = `${minimal}proxy:\n  upstreams: { ghcr.io: { url: https://ghcr.io, mirrors: [https://a.example] } }`
  const { config, warnings } = load(yaml, {
    REGISTRY_PROXY_UPSTREAMS_GHCR_IO_MIRRORS_0_TRUSTED: 'true',
    REGISTRY_PROXY_UPSTREAMS_GHCR_IO_MIRRORS_1: 'https://b.example',
  })
  assert.deepEqual(warnings, [])
  assert.deepEqual(
    config.proxy?.upstreams[0]?.mirrors.map(({ url, trusted }) => [url.href, trusted]),
    [
      ['https://a.example/', true],
      ['https://b.example/', false],
    ],
  )
})

test('credentials come in one of four forms', () => {
  using files = folder({ secret: 'from a file\r\n\n', 'auth.json': '{}' })
  const cases: readonly (readonly [keys: string, credentials: UpstreamConfig['credentials']])[] = [
    ['username: "", password: ""', { kind: 'anonymous' }],
    ['username: me, password: 0123', { kind: 'password', username: 'me', password: '0123' }],
    [`username: me, passwordfile: ${files.path}/secret`, { kind: 'password', username: 'me', password: 'from a file' }],
    [`authfile: ${files.path}/auth.json`, { kind: 'authfile', path: `${files.path}/auth.json` }],
    ['exec: { command: helper }', { kind: 'exec', command: 'helper', lifetime: undefined }],
    ['exec: { command: helper, lifetime: 0 }', { kind: 'exec', command: 'helper', lifetime: 0 }],
    ['exec: { command: helper, lifetime: 1h }', { kind: 'exec', command: 'helper', lifetime: 3_600_000 }],
  ]
  for (const [keys, credentials] of cases) assert.deepEqual(upstreamOf(keys).credentials, credentials, keys)
  const [only] = proxyOf('remoteurl: https://a\n  username: me\n  password: yes').upstreams
  assert.deepEqual(only?.credentials, { kind: 'password', username: 'me', password: 'yes' })
})

test('a file of credentials may come later: that it is not there, or no JSON, is said', () => {
  using files = folder({ words: 'asecret' })
  const cases: readonly (readonly [path: string, found: string, problem: string])[] = [
    ['~/.docker/config.json', '/home/me/.docker/config.json', 'cannot be read: ENOENT'],
    ['auth.json', `${cwd}/auth.json`, 'cannot be read: ENOENT'],
    [`${files.path}/words`, `${files.path}/words`, 'is not JSON'],
  ]
  for (const [path, found, problem] of cases) {
    const { config, warnings } = load(`${minimal}proxy: { remoteurl: https://a, authfile: ${path} }`)
    assert.deepEqual(config.proxy?.upstreams[0]?.credentials, { kind: 'authfile', path: found })
    assert.deepEqual(warnings, [`proxy.authfile: ${found} ${problem}; it is read again at each pull`])
  }
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
    [
      'reserve: 5\n  upstreams: { b: { url: https://b } }',
      'proxy.reserve: belongs to proxy.remoteurl, expected it inside one of proxy.upstreams',
    ],
    [
      'mirrors: [https://c]\n  upstreams: { b: { url: https://b } }',
      'proxy.mirrors: belongs to proxy.remoteurl, expected it inside one of proxy.upstreams',
    ],
    [one('mirrors: https://b'), 'proxy.upstreams.a.mirrors: found text, expected a list'],
    [one('mirrors: [ftp://b]'), `proxy.upstreams.a.mirrors[0].url: found "ftp://b", expected ${urlForm}`],
    [
      one('mirrors: [https://b, { trusted: true }]'),
      'proxy.upstreams.a.mirrors[1].url: missing, expected an http or https URL',
    ],
    [
      one('mirrors: [https://me:secret@b]'),
      'proxy.upstreams.a.mirrors[0].url: holds a user name or password; write them as username and password or passwordfile',
    ],
    [
      one('mirrors: [{ url: https://b, password: p }]'),
      'proxy.upstreams.a.mirrors[0].username: missing, expected beside password',
    ],
    [one('reserve: -1'), 'proxy.upstreams.a.reserve: found "-1", expected a whole number, 0 or more'],
    ['upstreams: { a: }', 'proxy.upstreams.a.url: missing, expected an http or https URL'],
    ['remoteurl: registry-1.docker.io', `proxy.remoteurl: found "registry-1.docker.io", expected ${urlForm}`],
    ['remoteurl: ftp://a', `proxy.remoteurl: found "ftp://a", expected ${urlForm}`],
    ['remoteurl: https://', `proxy.remoteurl: found "https://", expected ${urlForm}`],
    ['remoteurl: "https://a/#b"', `proxy.remoteurl: found "https://a/#b", expected ${urlForm}`],
    ['remoteurl: https://a/b c', `proxy.remoteurl: found "https://a/b c", expected ${urlForm}`],
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
      'proxy.upstreams: found "a:5000", expected a name of lower-case letters and digits joined by . _ or -; with a port it is one of its aliases',
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
    [
      'tags: []\n  upstreams: { b: { url: https://b } }',
      'proxy.tags: belongs to proxy.remoteurl, expected it inside one of proxy.upstreams',
    ],
    [
      one("tags: [{ match: '(', freshness: 1d }]"),
      'proxy.upstreams.a.tags[0].match: found "(", expected a regular expression of JavaScript, such as ^v\\d',
    ],
    [
      'remoteurl: https://a\n  tags: [{ freshness: 1d }]',
      'proxy.tags[0].match: missing, expected a regular expression of JavaScript, such as ^v\\d',
    ],
    [
      one('tags: [{ match: a, freshness: 1d }, { match: b }]'),
      'proxy.upstreams.a.tags[1].freshness: missing, expected a duration such as 30d',
    ],
    [
      'remoteurl: https://a\n  timeouts: { idle: 9d }',
      'proxy.timeouts.idle: found "9d", expected a duration with its unit, from 1ms to 8d, such as 10s',
    ],
    [
      'remoteurl: https://a\n  timeouts: { stale: 25d }',
      'proxy.timeouts.stale: found "25d", expected a duration with its unit, from 0s to 24d, such as 3s',
    ],
    [one('ongone: delete'), 'proxy.upstreams.a.ongone: found "delete", expected serve or forget'],
    [one('access: theirs'), 'proxy.upstreams.a.access: found "theirs", expected ours or client'],
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
