// That rights come first: what a request asks for is not so much as looked at before they are granted.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { api } from '../../src/api/api.ts'
import type { Handler, Reply } from '../../src/http/exchange.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import type { AccessDecision, AccessFacts, AccessRecord } from '../../src/registry/access.ts'
import type { Registry } from '../../src/registry/registry.ts'
import { apiOptions } from '../support/api-options.ts'

const digest = `sha256:${'0'.repeat(64)}`

/** Knows what repositories are called, and cannot be asked for more. */
function untouchable(touched: string[]): Registry {
  const touch = (what: string) => (): never => {
    touched.push(what)
    throw new RegistryError('UNKNOWN')
  }
  return {
    place: (name) => parseRepositoryName(`here/${name}`),
    repository: touch('repository'),
    writable: touch('writable'),
    removable: touch('removable'),
    holderOf: touch('holderOf'),
    list: touch('list'),
  }
}

async function send(handler: Handler, method: string, target: string, headers = {}): Promise<Reply> {
  const [path = '', search = ''] = target.split('?')
  const { signal } = new AbortController()
  const body = {
    [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
      throw new Error('the body was read')
    },
  }
  const query = new URLSearchParams(search)
  const known = { method, path, target: path, query, headers, address: '192.0.2.1', peer: '', host: 'our.test' }
  return await handler({ ...known, scheme: 'http', body, signal, log: {} })
}

const requests = [
  ['GET', '/v2/_catalog'],
  ...['GET', 'HEAD', 'PUT', 'PATCH', 'POST', 'DELETE', 'TRACE'].flatMap((method) =>
    [
      'tags/list',
      'manifests/1',
      `manifests/${digest}`,
      `referrers/${digest}`,
      `blobs/${digest}`,
      'blobs/uploads/',
      `blobs/uploads/?mount=${digest}`,
      `blobs/uploads/?mount=${digest}&from=other`,
      'blobs/uploads/an-id',
    ].map((path) => [method, `/v2/a/b/${path}`]),
  ),
] as [method: string, target: string][]

test('nothing is looked up, and no body is read, for a client without rights, or one that must wait', async () => {
  const touched: string[] = []
  const refusing = async (): Promise<AccessDecision> => ({ isGranted: false, challenge: 'Ours', reason: 'no' })
  const busy = async (): Promise<AccessDecision> => {
    throw new RegistryError('TOOMANYREQUESTS', undefined, { retryAfter: 2 })
  }
  for (const [method, target] of requests) {
    const refused = await send(
      api(untouchable(touched), apiOptions({ access: { authorize: refusing } })),
      method,
      target,
    )
    assert.deepEqual([refused.status, refused.headers['www-authenticate']], [401, 'Ours'], `${method} ${target}`)
    const told = await send(api(untouchable(touched), apiOptions({ access: { authorize: busy } })), method, target)
    assert.deepEqual([told.status, told.headers['retry-after']], [429, '2'], `${method} ${target}`)
  }
  assert.deepEqual(touched, [])
})

test('the controller hears who asks, with what, for which rights, of what, and by which names', async () => {
  const heard: (readonly [AccessFacts, readonly AccessRecord[]])[] = []
  const authorize = async (facts: AccessFacts, records: readonly AccessRecord[]): Promise<AccessDecision> => {
    heard.push([facts, records])
    return { isGranted: false, challenge: 'Ours', reason: 'no' }
  }
  const handler = api(untouchable([]), apiOptions({ access: { authorize } }))
  const headers = { authorization: 'Basic x', host: 'behind.test', 'x-forwarded-for': '198.51.100.1' }
  await send(handler, 'POST', `/v2/a/b/blobs/uploads/?mount=${digest}&from=c`, headers)
  await send(handler, 'GET', '/v2/a/b/tags/list?ns=up.test', headers)
  await send(handler, 'GET', '/v2/a/b/manifests/v1', headers)
  const facts = { authorization: 'Basic x', host: 'our.test', address: '192.0.2.1' }
  const right = (name: string, action: string, place: string, more: object = {}): unknown => ({
    type: 'repository',
    name,
    action,
    place,
    asked: { name, namespace: undefined },
    object: undefined,
    ...more,
  })
  const blob = { object: { kind: 'blob', digest } }
  assert.deepEqual(heard, [
    [facts, [right('a/b', 'pull', 'here/a/b'), right('a/b', 'push', 'here/a/b'), right('c', 'pull', 'here/c', blob)]],
    [facts, [right('here/a/b', 'pull', 'here/a/b', { asked: { name: 'a/b', namespace: 'up.test' } })]],
    [facts, [right('a/b', 'pull', 'here/a/b', { object: { kind: 'tag', tag: 'v1' } })]],
  ])
})
