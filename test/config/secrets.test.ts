// What a configuration keeps secret is in none of the lines we write about it (P8).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load, minimal, refusal, type Env } from './given.ts'

const refused: readonly (readonly [behaviour: string, yaml: string, env?: Env])[] = [
  ['a remote URL with a password', `${minimal}proxy: { remoteurl: 'https://me:hunter2@a' }`],
  ['a bad URL with a password', `${minimal}proxy: { remoteurl: 'htp://me:hunter2@a' }`],
  ['a bad URL with an odd password', `${minimal}proxy: { remoteurl: 'me:p@/hunter2@a' }`],
  ['a URL with a token', `${minimal}http: { host: 'https://a/?token=hunter2' }`],
  ['a realm with a password', `${minimal}proxy: { remoteurl: https://a, realms: ['https://me:hunter2@a'] }`],
  ['a password of the wrong kind', `${minimal}proxy: { password: [hunter2] }`],
  ['a secret of the wrong kind', `${minimal}http: { secret: { hunter2: } }`],
  ['a header of the wrong form', `${minimal}http: { headers: { Authorization: ["hunter2\\n"] } }`],
  ['a password without its space', `${minimal}proxy:\n  password:hunter2`],
  ['a password without its space beside a key', `${minimal}proxy: { password:hunter2, remoteurl: https://a }`],
  ['a password that YAML takes for an alias', `${minimal}proxy:\n  password: *hunter2\n`],
  ['a password that YAML cannot read', `${minimal}proxy:\n  password: "hunter2\n`],
  ['a password that YAML cannot read either', `${minimal}proxy:\n  password: @hunter2\n`],
  ['a webhook that is no URL', `${minimal}notifications: { endpoints: [{ url: 'htp://a/hunter2' }] }`],
  ['a webhook with a fragment', `${minimal}notifications: { endpoints: [{ url: 'https://a/hunter2#hunter2' }] }`],
  [
    "a webhook's header of the wrong form",
    `${minimal}notifications: { endpoints: [{ url: 'https://a', headers: { Authorization: ["hunter2\\n"] } }] }`,
  ],
  [
    "a webhook's header without its space",
    `${minimal}notifications: { endpoints: [{ url: 'https://a', headers: { 'Authorization:hunter2': [a] } }] }`,
  ],
  ['a section that YAML cannot read', minimal, { REGISTRY_PROXY: '{password: hunter2' }],
  ['an environment value of the wrong form', minimal, { REGISTRY_PROXY_EXEC: 'hunter2' }],
]

test('a refusal does not repeat a secret', () => {
  for (const [behaviour, yaml, env] of refused) {
    assert.doesNotMatch(refusal(yaml, env), /hunter2/, behaviour)
  }
})

test('a warning does not repeat a secret', () => {
  const { warnings } = load(
    `${minimal}
redis: { password: hunter2, sentinelpassword: hunter2 }
notifications: { endpoints: [{ url: https://a, headers: { Authorization: [hunter2] } }] }
reporting: { bugsnag: { apikey: hunter2 } }
proxy: { password: hunter2, username: me }`,
    { REGISTRY_PASSWORD: 'hunter2', REGISTRY_PROXY_PASWORD: 'hunter2' },
  )
  assert.equal(warnings.length, 6)
  assert.doesNotMatch(warnings.join('\n'), /hunter2/)
})
