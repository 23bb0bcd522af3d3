// distribution's rule: REGISTRY_, and the key's path in capitals, joined by underscores.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { cwd, folder, load, minimal, refusal, refusalOf, type Env } from './given.ts'

const file = `
version: 0.1
log: { fields: { service: registry } }
storage: { filesystem: { rootdirectory: /var/lib/registry } }
http: { addr: :5000, headers: { X-Content-Type-Options: [nosniff] } }
`

const mirror = `
version: 0.1
storage: inmemory
proxy:
  upstreams:
    docker.io: { url: https://registry-1.docker.io }
    docker: { url: https://docker.example.com }
    my-quay.io: { url: https://quay.io }
`

interface Override {
  readonly behaviour: string
  readonly yaml?: string
  readonly env: Env
  readonly pick: (config: Config) => unknown
  readonly expected: unknown
  readonly warnings?: readonly string[]
}

const overrides: readonly Override[] = [
  {
    behaviour: 'a variable overrides the key of its name',
    env: { REGISTRY_HTTP_ADDR: '127.0.0.1:6000', REGISTRY_STORAGE_DELETE_ENABLED: 'true' },
    pick: (config) => [config.http.host, config.http.port, config.storage.deleteEnabled],
    expected: ['127.0.0.1', 6000, true],
  },
  {
    behaviour: 'a value is YAML: a section at once',
    env: { REGISTRY_HTTP_HEADERS: '{X-A: [b, c]}' },
    pick: (config) => config.http.headers,
    expected: { 'X-A': ['b', 'c'] },
  },
  {
    behaviour: 'a header that holds nothing is not set',
    env: { 'REGISTRY_HTTP_HEADERS_X-Content-Type-Options': '', 'REGISTRY_HTTP_HEADERS_X-A': '[b]' },
    pick: (config) => config.http.headers,
    expected: { 'x-a': ['b'] },
  },
  {
    behaviour: 'a value is YAML: quotes are not part of it',
    env: { REGISTRY_HTTP_SECRET: '"a b"' },
    pick: (config) => config.http.secret,
    expected: 'a b',
  },
  {
    behaviour: 'text that is no YAML scalar is taken as it stands',
    env: { REGISTRY_HTTP_SECRET: '{a: [' },
    pick: (config) => config.http.secret,
    expected: '{a: [',
  },
  ...['#hush', '&hush', '!hush'].map((password) => ({
    behaviour: `a password of which YAML leaves nothing is taken as it stands: ${password}`,
    env: { REGISTRY_HTTP_SECRET: password },
    pick: (config: Config) => config.http.secret,
    expected: password,
  })),
  {
    behaviour: 'an empty variable unsets its key',
    env: { REGISTRY_HTTP_ADDR: '' },
    yaml: 'version: 0.1\nstorage: inmemory\nhttp: { addr: :1 }',
    pick: (config) => config.http.port,
    expected: 5000,
  },
  {
    behaviour: 'an existing key of a map is found whatever its case, and a new one is lower-cased',
    env: { REGISTRY_LOG_FIELDS_SERVICE: 'mirror', REGISTRY_LOG_FIELDS_ZONE: 'b' },
    pick: (config) => config.log.fields,
    expected: { service: 'mirror', zone: 'b' },
  },
  {
    behaviour: 'an element of a list is named by its number',
    env: { 'REGISTRY_HTTP_HEADERS_X-CONTENT-TYPE-OPTIONS_1': 'more' },
    pick: (config) => config.http.headers,
    expected: { 'X-Content-Type-Options': ['nosniff', 'more'] },
  },
  {
    behaviour: 'elements of a list come in the order of their numbers, however many there are',
    yaml: minimal,
    env: Object.fromEntries(Array.from({ length: 11 }, (_, at) => [`REGISTRY_HTTP_HEADERS_X-A_${at}`, `v${at}`])),
    pick: (config) => config.http.headers,
    expected: { 'x-a': ['v0', 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7', 'v8', 'v9', 'v10'] },
  },
  {
    behaviour: 'elements that are sections come in the order of their numbers, with what belongs to each',
    yaml: minimal,
    env: Object.fromEntries(
      Array.from({ length: 11 }, (_, at) => [
        [`REGISTRY_HEALTH_FILE_${at}_INTERVAL`, '5s'],
        [`REGISTRY_HEALTH_FILE_${at}_FILE`, `/f${at}`],
      ]).flat(),
    ),
    pick: ({ health }) => health.files.map(({ path, interval }) => `${path} ${interval}`),
    expected: Array.from({ length: 11 }, (_, at) => `/f${at} 5000`),
  },
  {
    behaviour: 'variables apply in the order of their names: a storage driver first, then its parameters',
    env: { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: '/data', REGISTRY_STORAGE: 'filesystem' },
    yaml: minimal,
    pick: (config) => [config.storage.driver, config.storage.rootDirectory],
    expected: ['filesystem', '/data'],
  },
  {
    behaviour: 'REGISTRY_STORAGE replaces the whole section',
    env: { REGISTRY_STORAGE: 'inmemory' },
    yaml: 'version: 0.1\nstorage: { filesystem: { rootdirectory: /a }, delete: { enabled: true } }',
    pick: (config) => [config.storage.driver, config.storage.deleteEnabled],
    expected: ['inmemory', false],
  },
  {
    behaviour: 'the names of Go fields are understood',
    env: {
      REGISTRY_HEALTH_FILECHECKERS_0_FILE: '/down',
      REGISTRY_LOG_HOOKS_0_TYPE: 'mail',
      REGISTRY_LOG_HOOKS_0_MAILOPTIONS_SMTP_ADDR: 'mail:25',
      REGISTRY_LOG_HOOKS_0_MAILOPTIONS_TO_0: 'ops@example.com',
      REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES: 'true',
    },
    pick: ({ log, health, notifications }) => [log.hooks[0]?.smtp.host, health.files, notifications.includeReferences],
    expected: ['mail', [{ path: '/down', interval: 10_000, threshold: 0 }], true],
  },
  {
    behaviour: "an upstream's dots and dashes may be written as underscores, the longest name first",
    yaml: mirror,
    env: {
      REGISTRY_PROXY_UPSTREAMS_DOCKER_IO_LIBRARY: 'false',
      REGISTRY_PROXY_UPSTREAMS_DOCKER_LIBRARY: 'true',
      REGISTRY_PROXY_UPSTREAMS_MY_QUAY_IO_FRESHNESS: '1h',
    },
    pick: (config) => config.proxy?.upstreams.map((upstream) => [upstream.name, upstream.library, upstream.freshness]),
    expected: [
      ['docker.io', false, 300_000],
      ['docker', true, 300_000],
      ['my-quay.io', false, 3_600_000],
    ],
  },
  {
    behaviour: 'a new upstream of one word can be made',
    yaml: minimal,
    env: { REGISTRY_PROXY_UPSTREAMS_QUAY_URL: 'https://quay.io' },
    pick: (config) => config.proxy?.upstreams.map((upstream) => upstream.name),
    expected: ['quay'],
  },
  {
    behaviour: 'a variable that names no key warns and changes nothing',
    yaml: mirror,
    env: {
      REGISTRY_PORT: 'tcp://10.0.0.1:5000',
      REGISTRY_HTTP_ADR: ':1',
      REGISTRY_HTTP_ADDR_PORT: '1',
      REGISTRY__HTTP: '1',
      REGISTRY_HTTP_TLS_CLIENTCAS_FIRST: 'ca.pem',
      REGISTRY_PROXY_UPSTREAMS_FOO_IO_URL: 'https://foo.io',
    },
    pick: (config) => [config.http.port, config.proxy?.upstreams.length],
    expected: [5000, 3],
    warnings: [
      'REGISTRY_HTTP_ADDR_PORT names no key of the configuration and is ignored',
      'REGISTRY_HTTP_ADR names no key of the configuration and is ignored',
      'REGISTRY_HTTP_TLS_CLIENTCAS_FIRST names no key of the configuration and is ignored',
      'REGISTRY_PORT names no key of the configuration and is ignored',
      'REGISTRY_PROXY_UPSTREAMS_FOO_IO_URL names no key of the configuration and is ignored',
      'REGISTRY__HTTP names no key of the configuration and is ignored',
    ],
  },
  {
    behaviour: 'names that are not ours are nobody’s business',
    env: { REGISTRY_AUTH_FILE: '/run/auth.json', REGISTRY_CONFIGURATION_PATH: '/x', REGISTRYX: '1', PATH: '/bin' },
    pick: (config) => config.http.port,
    expected: 5000,
  },
]

for (const { behaviour, yaml, env, pick, expected, warnings } of overrides) {
  test(behaviour, () => {
    const loaded = load(yaml ?? file, env)
    assert.deepEqual(pick(loaded.config), expected)
    assert.deepEqual(loaded.warnings, warnings ?? [])
  })
}

test('a list has no gaps, and a driver is not joined by another', () => {
  assert.equal(
    refusal(file, { 'REGISTRY_HTTP_HEADERS_X-A_1': 'b' }),
    'REGISTRY_HTTP_HEADERS_X-A_1: found index 1, expected at most 0: a list has no gaps',
  )
  assert.equal(
    refusal(file, { REGISTRY_STORAGE_S3_BUCKET: 'b' }),
    'storage: found filesystem and s3, expected exactly one storage driver',
  )
  assert.match(
    refusal(file, { REGISTRY_HTTP_HEADERS: '{X-A: [' }),
    /^REGISTRY_HTTP_HEADERS: not YAML, expected a value/,
  )
})

test('the file is the argument, else REGISTRY_CONFIGURATION_PATH, else there is none', () => {
  using files = folder({ 'a.yml': `${minimal}http: { addr: :1 }`, 'b.yml': `${minimal}http: { addr: :2 }` })
  const env = { REGISTRY_CONFIGURATION_PATH: `${files.path}/b.yml` }
  const portOf = (options: { path?: string; env: Env }): number =>
    loadConfig({ ...options, cwd: files.path }).config.http.port
  assert.equal(portOf({ path: 'a.yml', env }), 1)
  assert.equal(portOf({ env }), 2)
  assert.equal(portOf({ env: { REGISTRY_CONFIGURATION_PATH: '' } }), 5000)
  assert.equal(
    refusalOf(() => portOf({ path: 'none.yml', env })),
    'none.yml: cannot be read: ENOENT',
  )
})

test('without a file, a remote URL in the environment takes the place of the default upstreams', () => {
  const env = { REGISTRY_PROXY_REMOTEURL: 'https://quay.io', REGISTRY_PROXY_OFFLINE: 'true' }
  const { proxy } = loadConfig({ env, cwd }).config
  assert.deepEqual(
    proxy?.upstreams.map((upstream) => [upstream.name, upstream.url.href, upstream.default]),
    [[undefined, 'https://quay.io/', true]],
  )
  assert.equal(proxy?.offline, true)
})

test('without a file, the default upstreams can be reached one by one', () => {
  const env = { REGISTRY_PROXY_UPSTREAMS_GHCR_IO_USERNAME: 'me', REGISTRY_PROXY_UPSTREAMS_GHCR_IO_PASSWORD: '0123' }
  const { proxy } = loadConfig({ env, cwd }).config
  assert.deepEqual(proxy?.upstreams.find((upstream) => upstream.name === 'ghcr.io')?.credentials, {
    kind: 'password',
    username: 'me',
    password: '0123',
  })
})
