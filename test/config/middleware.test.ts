// `middleware`: what is asked for stands there, or the server does not start.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { folder, load, minimal, refusal } from './given.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const elliptic = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const pem = rsa.export({ type: 'pkcs8', format: 'pem' }).toString()
const files = folder({
  'rsa.pem': pem,
  'ec.pem': elliptic.export({ type: 'pkcs8', format: 'pem' }).toString(),
  'words.pem': 'hunter2',
})

function withStorage(items: string): string {
  return `${minimal}middleware: { storage: [${items}] }`
}

test('without middleware there is none', () => {
  assert.deepEqual(load(minimal).config.middleware, { registry: [], repository: [], storage: [] })
})

test('modules are named by their path, at two levels', () => {
  const { config, warnings } = load(`${minimal}
middleware:
  registry:
    - { name: module, disabled: true, options: { anything: goes } }
    - { name: module, options: { path: ./policy.ts } }
  repository:
    - { name: module, options: { path: ~/policy.js, timeout: 300ms, repositories: [local/**] } }
`)
  assert.deepEqual(config.middleware.registry, [
    { key: 'middleware.registry[1]', path: '/srv/registry/policy.ts', timeout: 1000 },
  ])
  assert.deepEqual(config.middleware.repository, [
    { key: 'middleware.repository[0]', path: '/home/me/policy.js', timeout: 300, repositories: ['local/**'] },
  ])
  assert.deepEqual(warnings, [])
})

test('steps of storage are read in their order', () => {
  const { config, warnings } = load(
    withStorage(`
      { name: redirect, options: { baseurl: https://a.example/b } },
      { name: cloudfront, options: { baseurl: c.example, privatekey: ${files.path}/rsa.pem, keypairid: K1, ipfilteredby: none } },
      { name: rewrite, options: { scheme: http, host: 'd.example:81', trimpathprefix: /docker } }`),
  )
  assert.deepEqual(config.middleware.storage, [
    { kind: 'redirect', baseUrl: new URL('https://a.example/b') },
    {
      kind: 'cloudfront',
      baseUrl: new URL('https://c.example/'),
      privateKey: pem,
      keyPairId: 'K1',
      duration: 20 * 60_000,
    },
    { kind: 'rewrite', scheme: 'http', host: 'd.example:81', trimPathPrefix: '/docker' },
  ])
  assert.deepEqual(warnings, [])
})

test('where nothing can be redirected, a warning says why', () => {
  const redirect = 'middleware: { storage: [{ name: redirect, options: { baseurl: https://a } }] }'
  const disabled = load(`version: 0.1\nstorage: { inmemory: , redirect: { disable: true } }\n${redirect}`)
  assert.deepEqual(disabled.config.middleware.storage, [])
  assert.deepEqual(disabled.warnings, ['middleware.storage has no effect beside storage.redirect.disable: true'])
  const always = load(`version: 0.1\nstorage: { inmemory: , verify: always }\n${redirect}`)
  assert.deepEqual(always.config.middleware.storage, [])
  assert.deepEqual(always.warnings, [
    'middleware.storage has no effect beside storage.verify: always, which has each blob read here',
  ])
  const rewrite = load(withStorage('{ name: rewrite, options: { host: a } }'))
  assert.deepEqual(rewrite.warnings, ['middleware.storage: a rewrite before any redirect has nothing to rewrite'])
})

test('what cannot stand there is refused, by its path', () => {
  const cloudfront = (rest: string): string =>
    withStorage(`{ name: cloudfront, options: { baseurl: https://a, ${rest} } }`)
  const refusals: readonly (readonly [string, string])[] = [
    [
      `${minimal}middleware: { registry: [{ name: one }] }`,
      'middleware.registry[0].name: found "one", expected module',
    ],
    [`${minimal}middleware: { repository: [{}] }`, 'middleware.repository[0].name: missing, expected module'],
    [
      withStorage('{ name: redirect, disabled: true }, { name: alicdn }'),
      'middleware.storage[1].name: found "alicdn", expected redirect or cloudfront or rewrite',
    ],
    [
      `${minimal}middleware: { registry: [{ name: module }] }`,
      'middleware.registry[0].options.path: missing, expected the path of a JavaScript or TypeScript module',
    ],
    [
      `${minimal}middleware: { registry: [{ name: module, options: { pth: a } }] }`,
      'middleware.registry[0].options.pth: unknown key; did you mean middleware.registry[0].options.path?',
    ],
    [
      `${minimal}middleware: { registry: [{ name: module, options: { path: a, repositories: [b] } }] }`,
      'middleware.registry[0].options.repositories: unknown key',
    ],
    [
      `${minimal}middleware: { repository: [{ name: module, options: { path: a, timeout: 0s } }] }`,
      'middleware.repository[0].options.timeout: found "0s", expected a duration with its unit, from 1ms to 24d, such as 10s',
    ],
    [
      withStorage('{ name: redirect }'),
      'middleware.storage[0].options.baseurl: missing, expected an http or https URL',
    ],
    [
      withStorage('{ name: redirect, options: { baseurl: cdn.example.com } }'),
      'middleware.storage[0].options.baseurl: found "cdn.example.com", expected an http or https URL with a host, without user name, query or fragment',
    ],
    [
      withStorage('{ name: rewrite, options: { host: https://a } }'),
      'middleware.storage[0].options.host: found "https://a", expected a host, with its port if it has one',
    ],
    [
      cloudfront(`privatekey: ${files.path}/rsa.pem`),
      'middleware.storage[0].options.keypairid: missing, expected the id of a key pair',
    ],
    [
      cloudfront('keypairid: K1, privatekey: /no/such.pem'),
      'middleware.storage[0].options.privatekey: /no/such.pem cannot be read: ENOENT',
    ],
    [
      cloudfront(`keypairid: K1, privatekey: ${files.path}/words.pem`),
      `middleware.storage[0].options.privatekey: ${files.path}/words.pem holds no private key, expected one in PEM without a passphrase`,
    ],
    [
      cloudfront(`keypairid: K1, privatekey: ${files.path}/ec.pem`),
      `middleware.storage[0].options.privatekey: ${files.path}/ec.pem holds a key of another kind, expected an RSA key`,
    ],
    [
      cloudfront(`keypairid: K1, privatekey: ${files.path}/rsa.pem, ipfilteredby: aws`),
      'middleware.storage[0].options.ipfilteredby: found "aws", expected none: who asks from where is not looked at',
    ],
  ]
  for (const [yaml, message] of refusals) assert.equal(refusal(yaml), message)
})

test('options can be set from the environment', () => {
  const { config } = load(withStorage('{ name: redirect, options: { baseurl: https://a } }'), {
    REGISTRY_MIDDLEWARE_STORAGE_0_OPTIONS_BASEURL: 'https://b',
  })
  assert.deepEqual(config.middleware.storage, [{ kind: 'redirect', baseUrl: new URL('https://b') }])
})
