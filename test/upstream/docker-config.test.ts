import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import type { Credentials } from '../../src/upstream/credentials.ts'
import { findEntry, helperServer, parseDockerConfig } from '../../src/upstream/docker-config.ts'
import { canary } from './fixture.ts'

function encode(text: string): string {
  return Buffer.from(text).toString('base64')
}

function password(username: string, secret: string): Credentials {
  return { kind: 'password', username, password: secret }
}

const hub = 'registry-1.docker.io'

const table: ReadonlyArray<{
  why: string
  auths: Record<string, unknown>
  host?: string
  repository?: string
  expected: Credentials | undefined
}> = [
  { why: 'a host', auths: { 'r.example': { auth: encode('u:p') } }, expected: password('u', 'p') },
  { why: 'a host with a port', auths: { 'r.example:5000': { auth: encode('u:p') } }, expected: undefined },
  {
    why: 'the host asked with its port',
    host: 'r.example:5000',
    auths: { 'r.example:5000': { auth: encode('u:p') } },
    expected: password('u', 'p'),
  },
  { why: 'a URL', auths: { 'https://r.example/v2/': { auth: encode('u:p') } }, expected: password('u', 'p') },
  {
    why: "Docker Hub's old URL",
    host: hub,
    auths: { 'https://index.docker.io/v1/': { auth: encode('u:p') } },
    expected: password('u', 'p'),
  },
  { why: 'docker.io', host: hub, auths: { 'docker.io': { auth: encode('u:p') } }, expected: password('u', 'p') },
  {
    why: 'index.docker.io/v1/ without a scheme',
    host: 'docker.io',
    auths: { 'index.docker.io/v1/': { auth: encode('u:p') } },
    expected: password('u', 'p'),
  },
  {
    why: 'a plain name before a URL',
    auths: { 'r.example': { auth: encode('u:plain') }, 'https://r.example': { auth: encode('u:url') } },
    expected: password('u', 'plain'),
  },
  {
    why: 'the longest namespace',
    repository: 'team/app/web',
    auths: {
      'r.example': { auth: encode('u:1') },
      'r.example/team': { auth: encode('u:2') },
      'r.example/team/app': { auth: encode('u:3') },
      'r.example/team/application': { auth: encode('u:4') },
    },
    expected: password('u', '3'),
  },
  {
    why: 'a namespace is no prefix of a name',
    repository: 'teams/app',
    auths: { 'r.example/team': { auth: encode('u:2') } },
    expected: undefined,
  },
  {
    why: 'a colon in the password, and NULs behind it',
    auths: { 'r.example': { auth: encode('u:p:q\0\0') } },
    expected: password('u', 'p:q'),
  },
  {
    why: 'user name and password apart',
    auths: { 'r.example': { username: 'u', password: 'p' } },
    expected: password('u', 'p'),
  },
  {
    why: 'an identity token before a password',
    auths: { 'r.example': { auth: encode('00000000-0000:'), identitytoken: 'it' } },
    expected: { kind: 'identity-token', token: 'it' },
  },
  {
    why: 'a registry token before all',
    auths: { 'r.example': { registrytoken: 'rt', identitytoken: 'it' } },
    expected: { kind: 'registry-token', token: 'rt' },
  },
  { why: 'an empty entry', auths: { 'r.example': {} }, expected: undefined },
  { why: 'another host', auths: { 'other.example': { auth: encode('u:p') } }, expected: undefined },
  { why: 'a name of JavaScript', host: 'constructor', auths: {}, expected: undefined },
]

for (const { why, auths, host = 'r.example', repository = 'team/app', expected } of table) {
  test(`a credentials file is read: ${why}`, () => {
    const config = parseDockerConfig(JSON.stringify({ auths }))
    assert.deepEqual(findEntry(config.auths, host, parseRepositoryName(repository)), expected)
  })
}

test('P8: a credentials file that cannot be read is not quoted', () => {
  const bad = [`{"auths":{"r.example":{"auth":"${canary}"}`, `"${canary}"`, `{"auths":"${canary}"}`, canary]
  bad.push(JSON.stringify({ auths: { 'r.example': { auth: encode(canary) } } }))
  for (const text of bad) {
    assert.throws(
      () => parseDockerConfig(text),
      (error: Error) =>
        error.name === 'CredentialsError' && error.cause === undefined && !error.message.includes(canary.slice(0, 6)),
    )
  }
})

test("helper programs know Docker Hub by docker's own URL", () => {
  assert.equal(helperServer('registry-1.docker.io'), 'https://index.docker.io/v1/')
  assert.equal(helperServer('ghcr.io'), 'ghcr.io')
})
