// Modules of an operator's own: what hooks decide, what they are told, and that nothing they do gets out.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/config-error.ts'
import { ContainedHook, HookError, type Hook } from '../../src/middleware/contained.ts'
import { ModuleError, loadModules } from '../../src/middleware/modules.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { basic, htpasswdOf } from '../auth/fixture.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Origin } from '../support/origin.ts'
import { until } from '../support/proxy-under-test.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { startWithModules } from './fixture.ts'

function proxyOf(
  origins: Readonly<Record<string, Origin>>,
  rest: Record<string, unknown> = {},
): Record<string, unknown> {
  const upstreams = Object.entries(origins).map(([name, { url }], index) => [name, { url, default: index === 0 }])
  return { proxy: { upstreams: Object.fromEntries(upstreams) as unknown, ...rest } }
}

/** What hooks of the module are told, written where the test can see it. */
function noted(name: string): { readonly seen: unknown[]; readonly source: string } {
  const seen: unknown[] = []
  Object.assign(globalThis, { [name]: seen })
  return { seen, source: `Reflect.get(globalThis, '${name}').push` }
}

test('route sends a pull to another upstream, to another name there, or nowhere', async () => {
  await using one = await startOrigin()
  await using two = await startOrigin()
  const here = await one.addImage('team/app', 'v1', [])
  const there = await two.addImage('inner/app', 'v1', [])
  const source = `
    export const route = ({ repository, namespace }) => {
      if (repository === 'closed/app') return 'none'
      if (repository === 'outer/app' && namespace === undefined) return { upstream: 'two', repository: 'inner/app' }
    }`
  await using app = await startWithModules([{ source }], proxyOf({ one, two }))
  const digestAt = async (path: string): Promise<unknown> =>
    (await ask(`${app.url}/v2/${path}`)).headers['docker-content-digest']
  assert.equal(await digestAt('team/app/manifests/v1'), here.manifest)
  assert.equal(await digestAt('outer/app/manifests/v1'), there.manifest)
  assert.equal(await digestAt(`outer/app/blobs/${there.config}`), there.config)
  const tags = await ask(`${app.url}/v2/outer/app/tags/list`)
  assert.deepEqual(JSON.parse(tags.body.toString()), { name: 'outer/app', tags: ['v1'] })
  const asked = one.seen.length
  const closed = await ask(`${app.url}/v2/closed/app/manifests/v1`)
  assert.deepEqual([closed.status, closed.codes], [404, ['NAME_UNKNOWN']])
  assert.equal(one.seen.length, asked, 'nobody was asked')
  assert.equal((await ask(`${app.url}/v2/outer/app/manifests/v1?ns=one`)).status, 404)
})

test('allow refuses with its reason, before anybody is asked and however the name is written', async () => {
  await using hub = await startOrigin()
  const image = await hub.addImage('library/alpine', 'latest', [])
  const told = noted('allowTold')
  const source = `
    export async function allow(request) {
      ${told.source}(request)
      return { allow: !request.repository.startsWith('hub/library/'), reason: 'not from there' }
    }`
  const sections = { proxy: { upstreams: { hub: { url: hub.url, default: true, library: true } } } }
  await using app = await startWithModules([{ source }], sections)
  const paths = [
    'alpine/manifests/latest',
    'library/alpine/manifests/latest',
    'hub/library/alpine/manifests/latest',
    'alpine/manifests/latest?ns=hub',
    `alpine/manifests/${image.manifest}`,
    `alpine/blobs/${image.config}`,
    'alpine/tags/list',
    `alpine/referrers/${image.manifest}`,
  ]
  for (const path of paths) {
    const answer = await ask(`${app.url}/v2/${path}`)
    assert.deepEqual([answer.status, answer.codes], [403, ['DENIED']], path)
    assert.match(answer.body.toString(), /not from there/)
  }
  assert.equal((await ask(`${app.url}/v2/alpine/manifests/latest`, { method: 'HEAD' })).status, 403)
  assert.deepEqual(hub.seen, [])
  const place = { repository: 'hub/library/alpine', upstream: 'hub', user: undefined }
  const byTag = { ...place, kind: 'manifest', reference: 'latest' }
  assert.deepEqual(told.seen, [
    byTag,
    byTag,
    byTag,
    byTag,
    { ...place, kind: 'manifest', reference: image.manifest },
    { ...place, kind: 'blob', reference: image.config },
    { ...place, kind: 'tags', reference: undefined },
    { ...place, kind: 'referrers', reference: image.manifest },
    byTag,
  ])
})

test('allow is asked once for a request, and for what is ours too', async () => {
  const told = noted('onceTold')
  const source = `export const allow = (request) => { ${told.source}(request); return { allow: true } }`
  await using app = await startWithModules([{ source }])
  const { bytes, digest } = randomBlob(100)
  await ask(`${app.url}/v2/app/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
  assert.deepEqual(told.seen, [], 'a push is not asked about')
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`, { range: 'bytes=0-1,5-6' })).status, 206)
  const place = { repository: 'app', upstream: undefined, user: undefined }
  assert.deepEqual(told.seen, [{ ...place, kind: 'blob', reference: digest }])
})

test('every hook is told who asks, where that was proven', async () => {
  await using up = await startOrigin()
  for (const name of ['app', 'open']) await up.addImage(name, 'v1', [])
  const told = noted('usersTold')
  const hooks = { route: undefined, allow: '{ allow: true }', freshness: undefined, onPull: undefined }
  const source = Object.entries(hooks)
    .map(
      ([hook, answer]) =>
        `export const ${hook} = ({ user }) => { ${told.source}('${hook} ' + user); return ${answer} }`,
    )
    .join('\n')
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'htpasswd')
  await writeFile(path, await htpasswdOf('alice'))
  const auth = { htpasswd: { realm: 'ours', path }, anonymous: [{ repositories: ['up/open'] }] }
  await using app = await startWithModules([{ source }], { ...proxyOf({ up }), auth })
  const authorization = basic('alice', 'alice-password')
  for (const [name, user] of [
    ['app', 'alice'],
    ['open', 'undefined'],
  ]) {
    told.seen.length = 0
    assert.equal((await pull(`${app.url}/v2/${name}/manifests/v1`, { authorization })).status, 200)
    await until(() => told.seen.length === 4)
    assert.deepEqual(
      told.seen,
      Object.keys(hooks).map((hook) => `${hook} ${user}`),
    )
  }
})

test('whoever mounts a blob is asked about by name', async () => {
  const source = `export const allow = ({ repository, user }) => ({ allow: repository !== 'secret' || user === 'alice' })`
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'htpasswd')
  await writeFile(path, await htpasswdOf('alice', 'bob'))
  await using app = await startWithModules([{ source }], { auth: { htpasswd: { realm: 'ours', path } } })
  const as = (user: string): { readonly authorization: string } => ({ authorization: basic(user, `${user}-password`) })
  const { bytes, digest } = randomBlob(100)
  const uploads = (name: string): string => `${app.url}/v2/${name}/blobs/uploads/`
  await ask(`${uploads('secret')}?digest=${digest}`, { method: 'POST', body: bytes, headers: as('alice') })
  for (const [user, status] of [
    ['bob', 202],
    ['alice', 201],
  ] as const) {
    const mounted = await ask(`${uploads('app')}?mount=${digest}&from=secret`, { method: 'POST', headers: as(user) })
    assert.equal(mounted.status, status, user)
  }
})

test('what allow refuses cannot be mounted: the client uploads it', async () => {
  const source = `export const allow = ({ repository }) => ({ allow: repository !== 'secret' })`
  await using app = await startWithModules([{ source }])
  for (const from of ['secret', 'open']) {
    const { bytes, digest } = randomBlob(100)
    await ask(`${app.url}/v2/${from}/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
    const mounted = await ask(`${app.url}/v2/app/blobs/uploads/?mount=${digest}&from=${from}`, { method: 'POST' })
    assert.equal(mounted.status, from === 'secret' ? 202 : 201)
    const guessed = await ask(`${app.url}/v2/other/blobs/uploads/?mount=${digest}`, { method: 'POST' })
    assert.equal(guessed.status, from === 'secret' ? 202 : 201)
  }
})

test('P3: freshness decides how long a tag is served without asking', async () => {
  await using up = await startOrigin()
  await up.addImage('app', 'v1', [])
  await up.addImage('app', 'edge', [])
  const source = `export const freshness = ({ repository, upstream, tag }) =>
    repository === 'up/app' && upstream === 'up' && tag === 'edge' ? 0 : undefined`
  await using app = await startWithModules([{ source }], proxyOf({ up }, { freshness: '1h' }))
  for (const tag of ['v1', 'edge']) {
    for (let times = 0; times < 3; times++) {
      assert.equal((await ask(`${app.url}/v2/app/manifests/${tag}`)).status, 200)
    }
  }
  const heads = (tag: string): number => up.seen.filter((line) => line === `HEAD /v2/app/manifests/${tag}`).length
  assert.deepEqual([heads('v1'), heads('edge')], [1, 3])
})

test('onPull is told of manifests, blobs and ranges that were read, with where they came from', async () => {
  await using up = await startOrigin()
  const layer = randomBlob(100_000)
  const image = await up.addImage('app', 'v1', [layer.bytes])
  const told = noted('pullsTold')
  const source = `export const onPull = (pull) => { ${told.source}(pull) }`
  await using app = await startWithModules([{ source }], proxyOf({ up }))
  const url = `${app.url}/v2/app`
  const manifest = await ask(`${url}/manifests/v1`)
  await until(() => told.seen.length === 1)
  await pull(`${url}/blobs/${layer.digest}`)
  await until(() => told.seen.length === 2)
  await pull(`${url}/blobs/${layer.digest}`, { range: 'bytes=0-9' })
  await until(() => told.seen.length === 3)
  await ask(`${url}/manifests/v1`, { method: 'HEAD' })
  await ask(`${url}/blobs/${randomBlob(1).digest}`)
  const place = { repository: 'up/app', upstream: 'up', user: undefined }
  const blob = { ...place, kind: 'blob', reference: layer.digest, digest: layer.digest, size: 100_000 }
  const mediaType = 'application/octet-stream'
  assert.deepEqual(told.seen.slice(0, 2), [
    {
      ...place,
      kind: 'manifest',
      reference: 'v1',
      digest: image.manifest,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      size: manifest.body.length,
      sent: manifest.body.length,
      from: 'upstream',
    },
    { ...blob, mediaType, sent: 100_000, from: 'fill' },
  ])
  assert.deepEqual({ ...(told.seen[2] as object), from: undefined }, { ...blob, mediaType, sent: 10, from: undefined })
  assert.equal(told.seen.length, 3)
})

test('onPull is told once of an image that an old client is given in its own words', async () => {
  const told = noted('oldClientTold')
  const source = `export const onPull = ({ kind, digest }) => { ${told.source}([kind, digest]) }`
  await using app = await startWithModules([{ source }], { compatibility: { schema1: { enabled: true } } })
  const docker = 'application/vnd.docker.distribution.manifest.v2+json'
  const history = [{ created: '2026-01-02T03:04:06Z', created_by: 'CMD ["sh"]', empty_layer: true }]
  const rootfs = { type: 'layers', diff_ids: [] }
  const image = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs, history }))
  const push = async (path: string, method: string, body: Uint8Array, type: string): Promise<void> => {
    const answer = await ask(`${app.url}/v2/app/${path}`, { method, body, headers: { 'content-type': type } })
    assert.equal(answer.status, 201, answer.body.toString())
  }
  const blob = digestOf(image)
  await push(`blobs/uploads/?digest=${blob}`, 'POST', image, 'application/octet-stream')
  const config = { mediaType: 'application/vnd.docker.container.image.v1+json', digest: blob, size: image.length }
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: docker, config, layers: [] }))
  await push('manifests/v1', 'PUT', manifest, docker)
  const answer = await ask(`${app.url}/v2/app/manifests/v1`)
  assert.match(String(answer.headers['content-type']), /manifest\.v1\+prettyjws/)
  await pull(`${app.url}/v2/app/blobs/${blob}`)
  await until(() => told.seen.length === 2)
  assert.deepEqual(told.seen, [
    ['manifest', digestOf(manifest)],
    ['blob', blob],
  ])
})

test('modules are asked in the order of their lists, those of repositories for theirs alone', async () => {
  const told = noted('orderTold')
  const source = (name: string, allow: boolean): string => `
    export const allow = () => { ${told.source}('${name}'); return { allow: ${allow}, reason: '${name}' } }`
  const modules = [
    { source: `${source('first', true)}\nexport const route = () => ({ repository: 'b' })` },
    {
      source: `${source('second', true)}\nexport const route = ({ repository }) => ({ repository: repository + '/c' })`,
    },
    { source: source('third', false), repositories: ['b/*'] },
    { source: source('other', false), repositories: ['a'] },
  ]
  await using app = await startWithModules(modules)
  const answer = await ask(`${app.url}/v2/a/tags/list`)
  assert.equal(answer.status, 403)
  assert.match(answer.body.toString(), /third/)
  assert.deepEqual(told.seen, ['first', 'second', 'third'])
})

const failing: readonly (readonly [what: string, body: string])[] = [
  ['throws', `throw new Error('hunter2')`],
  ['rejects', `return Promise.reject(new Error('hunter2'))`],
  ['throws what cannot be described', `throw Object.assign(Object.create(null), { toString() { throw this } })`],
  ['throws an error without words', `throw Object.assign(new Error(), { message: { not: 'a text' } })`],
  ['never answers', 'return new Promise(() => {})'],
  ["never answers, by another library's promise", 'return { then() {} }'],
  ["rejects, by another library's promise", `return { then(_, reject) { reject(new Error('hunter2')) } }`],
  ['answers with something else', 'return 42n'],
  ['changes what it is given', `asked.repository = 'other'`],
]

for (const [what, body] of failing) {
  test(`P10: a hook that ${what} allows nothing, sends nothing anywhere, and is said once`, async () => {
    await using up = await startOrigin()
    await up.addImage('app', 'v1', [])
    for (const name of ['route', 'allow']) {
      const source = `export function ${name}(asked) { ${body} }`
      await using app = await startWithModules([{ source, timeout: '1ms' }], proxyOf({ up }))
      for (let times = 0; times < 3; times++) {
        const answer = await ask(`${app.url}/v2/app/manifests/v1`)
        assert.deepEqual([answer.status, answer.codes], [503, ['UNAVAILABLE']], name)
        assert.doesNotMatch(answer.body.toString(), /hunter2|middleware/)
      }
      const said = app.lines.filter((line) => line['msg'] === 'hook failed')
      assert.deepEqual(
        said.map((line) => [line['level'], line['hook'], line['module']]),
        [['warn', name, 'middleware.registry[0]']],
      )
    }
    assert.deepEqual(up.seen, [])
  })

  test(`a freshness or onPull that ${what} costs no pull`, async () => {
    await using up = await startOrigin()
    await up.addImage('app', 'v1', [])
    const fails = body === 'return 42n' ? `throw new Error('onPull may answer anything')` : body
    const source = `export function freshness(asked) { ${body} }; export function onPull(asked) { ${fails} }`
    await using app = await startWithModules([{ source, timeout: '1ms' }], proxyOf({ up }))
    for (let times = 0; times < 3; times++) assert.equal((await ask(`${app.url}/v2/app/manifests/v1`)).status, 200)
    await app.until((line) => line['hook'] === 'onPull')
    const said = app.lines.filter((line) => line['msg'] === 'hook failed')
    assert.deepEqual(said.map((line) => String(line['hook'])).toSorted(), ['freshness', 'onPull'])
  })
}

test('allow that answers nothing is no permission', async () => {
  for (const body of ['', 'return undefined', 'return true', 'return {}', `return { allow: 'no' }`]) {
    await using app = await startWithModules([{ source: `export const allow = () => { ${body} }` }])
    assert.equal((await ask(`${app.url}/v2/app/tags/list`)).status, 503, body)
  }
})

test('P7: failures of a hook are said once a minute with their number, and calls without an answer are bounded', async () => {
  const recording = recordingLogger()
  let now = 0
  let hook: Hook = () => new Promise(() => {})
  const contained = new ContainedHook<object, unknown>({
    hook: (asked) => hook(asked),
    name: 'allow',
    key: 'middleware.registry[0]',
    timeout: 1,
    read: (answer) => answer,
    logger: recording.logger,
    now: () => now,
  })
  const calls = Array.from({ length: 1000 }, async () => await contained.call({}))
  let reached = 0
  hook = () => {
    reached++
    return true
  }
  await assert.rejects(contained.call({}), HookError)
  assert.equal(reached, 0, 'a thousand are unanswered')
  for (const { status } of await Promise.allSettled(calls)) assert.equal(status, 'rejected')
  await assert.rejects(contained.call({}), HookError)
  assert.equal(recording.lines.length, 1)
  now += 60_000
  await assert.rejects(contained.call({}), HookError)
  assert.deepEqual(
    recording.lines.map((line) => line['failures']),
    [1, 1002],
  )
})

test('P7: a module that does not finish loading is refused', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'module.ts')
  await writeFile(path, 'await new Promise(() => {})\nexport const allow = () => ({ allow: true })')
  const registry = [{ key: 'middleware.registry[0]', path, timeout: 1000 }]
  await assert.rejects(loadModules({ registry, repository: [] }, silentLogger, 5), (error: unknown) => {
    assert.ok(error instanceof ModuleError)
    assert.match(
      error.message,
      /^middleware\.registry\[0\]\.options\.path: .* cannot be loaded: it is not done after 5 ms$/,
    )
    return true
  })
})

test('a module that cannot be used is refused at start, by its place and its path', async () => {
  const refusals: readonly (readonly [source: string, message: RegExp])[] = [
    ['export const alow = () => true', /exports alow, expected hooks: route, allow, freshness, onPull$/],
    ['export default () => true', /exports default, expected hooks/],
    ['export const allow = true', /exports allow as something else than a function$/],
    ['const allow = () => true; export {}', /exports no hook, expected one of route, allow, freshness, onPull$/],
    [`throw new Error('no key')`, /cannot be loaded: no key$/],
    ['export const = 1', /cannot be loaded: /],
  ]
  for (const [source, message] of refusals) {
    await assert.rejects(startWithModules([{ source }]), (error: unknown) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, /^middleware\.registry\[0\]\.options\.path: \/.*\/module-0\.ts /)
      assert.match(error.message, message)
      return true
    })
  }
  const source = 'export const route = () => undefined'
  await assert.rejects(
    startWithModules([{ source, repositories: ['a'] }]),
    /exports route, expected hooks: allow, freshness/,
  )
})
