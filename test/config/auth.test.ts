// `auth`: exactly one controller, wholly described; anything less is refused, for the doors would be open (T-88).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AuthConfig } from '../../src/config/auth-section.ts'
import { load, minimal, refusal } from './given.ts'

function authOf(yaml: string): AuthConfig | undefined {
  return load(`${minimal}auth: ${yaml}`).config.auth
}

test('nothing, an empty section and none leave the doors open', () => {
  for (const yaml of ['', 'none', '{ none: }', '{ none: { realm: x } }']) assert.equal(authOf(yaml), undefined)
  assert.equal(load(minimal).config.auth, undefined)
})

test('a controller is read, as distribution writes it', () => {
  assert.deepEqual(authOf('{ htpasswd: { realm: basic-realm, path: htpasswd } }'), {
    controller: { kind: 'htpasswd', realm: 'basic-realm', path: '/srv/registry/htpasswd' },
    anonymous: [],
    policy: undefined,
  })
  const token = 'realm: https://a/token, service: s, issuer: i, rootcertbundle: /a.pem'
  const settings = { realm: 'https://a/token', service: 's', issuer: 'i', rootCertBundle: '/a.pem' }
  assert.deepEqual(authOf(`{ token: { ${token} } }`)?.controller, {
    kind: 'token',
    ...settings,
    jwks: undefined,
    signingAlgorithms: undefined,
    autoRedirectPath: undefined,
  })
  assert.deepEqual(
    authOf(`{ token: { ${token}, jwks: keys.json, signingalgorithms: [ES256, EdDSA], autoredirect: true } }`)
      ?.controller,
    {
      kind: 'token',
      ...settings,
      jwks: '/srv/registry/keys.json',
      signingAlgorithms: ['ES256', 'EdDSA'],
      autoRedirectPath: '/auth/token',
    },
  )
  const { controller } = authOf('{ token: { realm: r, service: s, issuer: i, jwks: https://a/keys } }') ?? {}
  assert.ok(controller?.kind === 'token' && controller.jwks instanceof URL)
  assert.equal(controller.jwks.href, 'https://a/keys')
})

test('it can be set by the environment', () => {
  const env = { REGISTRY_AUTH: 'htpasswd', REGISTRY_AUTH_HTPASSWD_REALM: 'r', REGISTRY_AUTH_HTPASSWD_PATH: '/p' }
  assert.deepEqual(load(minimal, env).config.auth?.controller, { kind: 'htpasswd', realm: 'r', path: '/p' })
})

test('silly is said aloud', () => {
  const { config, warnings } = load(`${minimal}auth: { silly: { realm: r, service: s } }`)
  assert.deepEqual(config.auth?.controller, { kind: 'silly', realm: 'r', service: 's' })
  assert.deepEqual(warnings, ['auth.silly lets everybody in who sends any credentials: it is for tests'])
})

test('anonymous pulls and policy are read', () => {
  const auth = authOf(`
  htpasswd: { realm: r, path: /p }
  anonymous: [{ repositories: [docker.io/**], networks: [10.0.0.0/8, '2001:db8::/32', 192.0.2.1] }, { repositories: ['**'], actions: [pull] }]
  policy:
    - { users: [ci], actions: [pull, push], repositories: [local/**] }
    - { claims: { groups: [admins] }, actions: ['*'], repositories: ['**'] }
    - { users: ['*'], actions: [catalog] }
`)
  assert.deepEqual(auth?.anonymous, [
    { repositories: ['docker.io/**'], networks: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'], actions: ['pull'] },
    { repositories: ['**'], networks: undefined, actions: ['pull'] },
  ])
  assert.deepEqual(auth?.policy, [
    { users: ['ci'], claims: {}, actions: ['pull', 'push'], repositories: ['local/**'] },
    { users: undefined, claims: { groups: ['admins'] }, actions: ['*'], repositories: ['**'] },
    { users: ['*'], claims: {}, actions: ['catalog'], repositories: [] },
  ])
})

const htpasswd = 'htpasswd: { realm: r, path: /p }'
const token = 'realm: r, service: s, issuer: i'

const refusals: readonly (readonly [auth: string, message: RegExp])[] = [
  ['ldap', /^auth\.ldap: unknown key$/],
  [`{ ${htpasswd}, silly: { realm: r, service: s } }`, /^auth: found silly and htpasswd, expected exactly one of/],
  [`{ none: , ${htpasswd} }`, /^auth: found none and htpasswd, expected exactly one of/],
  ['silly', /^auth\.silly\.realm: missing, expected text$/],
  ['{ silly: { realm: r } }', /^auth\.silly\.service: missing/],
  ['htpasswd', /^auth\.htpasswd\.path: missing/],
  ['{ htpasswd: { path: /p } }', /^auth\.htpasswd\.realm: missing/],
  ['{ htpasswd: { path: , realm: r } }', /^auth\.htpasswd\.path: missing/],
  ['token', /^auth\.token: needs rootcertbundle or jwks/],
  [`{ token: { ${token} } }`, /^auth\.token: needs rootcertbundle or jwks/],
  ['{ token: { realm: r, service: s, jwks: /k } }', /^auth\.token\.issuer: missing/],
  [`{ token: { ${token}, jwks: http://keys.example } }`, /^auth\.token\.jwks: expected a file, or an https URL/],
  [
    `{ token: { ${token}, jwks: https://me:hunter2@keys.example } }`,
    /^auth\.token\.jwks: expected a file, or an https/,
  ],
  [
    `{ token: { ${token}, jwks: /k, signingalgorithms: [none] } }`,
    /^auth\.token\.signingalgorithms\[0\]: found .*EdDSA/,
  ],
  [`{ token: { ${token}, jwks: /k, signingalgorithms: [] } }`, /^auth\.token\.signingalgorithms: names none/],
  [`{ token: { ${token}, jwks: /k, autoredirectpath: //evil.example } }`, /^auth\.token\.autoredirectpath: found /],
  ['{ anonymous: [{ repositories: ["**"] }] }', /^auth\.anonymous: needs auth\.htpasswd or auth\.token beside it/],
  ['{ policy: [] }', /^auth\.policy: needs auth\.htpasswd or auth\.token beside it/],
  [`{ ${htpasswd}, anonymous: [{ networks: [10.0.0.0/8] }] }`, /^auth\.anonymous\[0\]\.repositories: missing/],
  [
    `{ ${htpasswd}, anonymous: [{ repositories: [a], networks: [10.0.0.0/33] }] }`,
    /^auth\.anonymous\[0\]\.networks\[0\]: /,
  ],
  [`{ ${htpasswd}, anonymous: [{ repositories: [a], networks: [] }] }`, /^auth\.anonymous\[0\]\.networks: missing/],
  [
    `{ ${htpasswd}, anonymous: [{ repositories: [a], actions: [push] }] }`,
    /^auth\.anonymous\[0\]\.actions\[0\]: .* pull$/,
  ],
  [`{ ${htpasswd}, policy: [{ actions: [pull], repositories: [a] }] }`, /^auth\.policy\[0\]\.users: missing/],
  [`{ ${htpasswd}, policy: [{ users: [a], repositories: [a] }] }`, /^auth\.policy\[0\]\.actions: missing/],
  [`{ ${htpasswd}, policy: [{ users: [a], actions: [pull] }] }`, /^auth\.policy\[0\]\.repositories: missing/],
  [
    `{ ${htpasswd}, policy: [{ users: [a], actions: [admin], repositories: [a] }] }`,
    /^auth\.policy\[0\]\.actions\[0\]: /,
  ],
  [
    `{ ${htpasswd}, policy: [{ users: [a], actions: [pull], repositories: [A] }] }`,
    /^auth\.policy\[0\]\.repositories\[0\]: /,
  ],
]

test('a guard that is only half described is refused', () => {
  for (const [auth, message] of refusals) {
    const line = refusal(`${minimal}auth: ${auth}`)
    assert.match(line, message)
    assert.doesNotMatch(line, /hunter2/)
  }
})
