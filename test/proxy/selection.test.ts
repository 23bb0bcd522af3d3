import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RegistryError } from '../../src/oci/error.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import { Selector, type Upstream } from '../../src/proxy/selection.ts'

const source: Upstream['source'] = {
  condition: () => ({ isReachable: true, pullsLeft: undefined }),
  repository() {
    throw new Error('nothing is dialled to decide')
  },
}

function upstream(name: string | undefined, fields: Partial<Upstream> = {}): Upstream {
  const host = `${name ?? 'unnamed'}.example`
  const policy = { freshness: 0, tags: [], onGone: 'serve', onDenied: 'serve', reserve: 0 } as const
  return { name, aliases: [], default: false, library: false, host, ...policy, source, ...fields }
}

const hub = upstream('docker.io', {
  default: true,
  library: true,
  aliases: ['index.docker.io', 'registry-1.docker.io'],
})
const selector = new Selector([hub, upstream('ghcr.io')], ['local/**', 'team-*/app'])

function select(name: string, namespace?: string, from = selector): string {
  const selection = from.select(parseRepositoryName(name), namespace)
  return selection.kind === 'ours'
    ? `ours ${selection.name}`
    : `${selection.upstream.name ?? 'unnamed'} ${selection.remote} ${selection.local}`
}

test('hosted names come first, then ns, then the first component, then the default upstream', () => {
  const cases: [string, string | undefined, string][] = [
    ['local/a/b', undefined, 'ours local/a/b'],
    ['local/a', 'ghcr.io', 'ours local/a'],
    ['team-x/app', undefined, 'ours team-x/app'],
    ['team-x/app/more', undefined, 'docker.io team-x/app/more docker.io/team-x/app/more'],
    ['org/app', 'ghcr.io', 'ghcr.io org/app ghcr.io/org/app'],
    ['ghcr.io/org/app', undefined, 'ghcr.io org/app ghcr.io/org/app'],
    ['ghcr.io/org/app', 'ghcr.io', 'ghcr.io org/app ghcr.io/org/app'],
    ['ghcr.io/org/app', 'docker.io', 'docker.io ghcr.io/org/app docker.io/ghcr.io/org/app'],
    ['docker.io/library/alpine', undefined, 'docker.io library/alpine docker.io/library/alpine'],
    ['docker.io/alpine', undefined, 'docker.io library/alpine docker.io/library/alpine'],
    ['alpine', undefined, 'docker.io library/alpine docker.io/library/alpine'],
    ['alpine', 'docker.io', 'docker.io library/alpine docker.io/library/alpine'],
    ['alpine', 'index.docker.io', 'docker.io library/alpine docker.io/library/alpine'],
    ['alpine', 'DOCKER.IO', 'docker.io library/alpine docker.io/library/alpine'],
    ['alpine', 'registry-1.docker.io:443', 'docker.io library/alpine docker.io/library/alpine'],
    ['alpine', 'ghcr.io', 'ghcr.io alpine ghcr.io/alpine'],
    ['ghcr.io', undefined, 'docker.io library/ghcr.io docker.io/library/ghcr.io'],
    ['local', undefined, 'docker.io library/local docker.io/library/local'],
  ]
  for (const [name, namespace, expected] of cases)
    assert.equal(select(name, namespace), expected, `${name} ${namespace}`)
})

test('P8: ns is a key into what is configured, never a host', () => {
  const hostile = ['evil.example', '169.254.169.254', 'localhost', '[::ffff:7f00:1]', '0x7f.1', 'evil.com#docker.io']
  for (const namespace of [...hostile, 'docker.io@evil', '', '__proto__', 'x'.repeat(5000), 'docker.io:80']) {
    assert.throws(
      () => select('alpine', namespace),
      (error) => error instanceof RegistryError && error.code === 'NAME_UNKNOWN',
      namespace,
    )
  }
})

test('without a default upstream, names that nobody claims are ours', () => {
  assert.equal(select('alpine', undefined, new Selector([upstream('ghcr.io')], [])), 'ours alpine')
})

test('a nameless upstream keeps repositories under their own names, as distribution does', () => {
  const nameless = new Selector([upstream(undefined, { default: true, library: true })], [])
  assert.equal(select('alpine', undefined, nameless), 'unnamed library/alpine library/alpine')
  assert.equal(select('org/app', undefined, nameless), 'unnamed org/app org/app')
})

test('a name that becomes too long under its upstream is refused', () => {
  assert.throws(
    () => select('a'.repeat(250)),
    (error) => error instanceof RegistryError && error.code === 'NAME_INVALID',
  )
})
