import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RegistryError } from '../../src/oci/error.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import type { UpstreamRepository, UpstreamSource } from '../../src/registry/upstream-source.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { mirrored } from '../../src/upstream/mirrored.ts'
import { collect } from '../../src/bytes/stream.ts'
import { reply, scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'
import { blob, blobDigest, failure, latest, manifest, manifestDigest, name, password, upstreamAt } from './fixture.ts'

/** What a place does with every request; `good`: it has everything that the fixture has. */
type Manner = 'good' | 'dead' | 'limited' | 'lying' | 'empty' | 'denying' | 'refusing'

interface Place extends ScriptedServer {
  manner: Manner
}

async function place(manner: Manner): Promise<Place> {
  const server = await scriptedServer(({ path, method }, response) => {
    switch (changing.manner) {
      case 'dead':
        return reply(response, 503)
      case 'limited':
        return reply(response, 429, { 'retry-after': '30' })
      case 'empty':
        return reply(response, 404)
      case 'denying':
        return reply(response, 403)
      case 'refusing':
        return reply(response, 401, { 'www-authenticate': 'Basic realm="r"' })
      case 'lying':
        return reply(response, 200, {}, '{}')
      case 'good': {
        if (path.endsWith('/tags/list')) return reply(response, 200, {}, { tags: ['latest'] })
        if (path.includes('/referrers/')) return reply(response, 200, { 'content-type': mediaTypes.ociIndex }, manifest)
        const isBlob = path.includes('/blobs/')
        const headers = { 'content-type': isBlob ? 'application/octet-stream' : mediaTypes.ociIndex }
        const body = isBlob ? blob : manifest
        const digest = { 'docker-content-digest': isBlob ? blobDigest : manifestDigest }
        const length = { 'content-length': String(body.length) }
        return reply(response, 200, { ...headers, ...digest, ...length }, method === 'HEAD' ? '' : body)
      }
    }
  })
  const changing = Object.assign(server, { manner })
  return changing
}

interface Scene extends AsyncDisposable {
  readonly places: readonly Place[]
  readonly source: UpstreamSource
  readonly repository: UpstreamRepository
  /** Which places were asked, in their order, since the last time. */
  readonly asked: () => number[]
}

/** The main place, and mirrors behind it; `trusted` ones have a `+`. */
async function scene(main: Manner, ...mirrors: (Manner | `${Manner}+`)[]): Promise<Scene> {
  await using opening = new AsyncDisposableStack()
  const places: Place[] = []
  const sources: UpstreamSource[] = []
  for (const one of [main, ...mirrors]) {
    const server = opening.use(await place(one.replace('+', '') as Manner))
    const credentials = one.startsWith('refusing') ? { credentials: password() } : {}
    sources.push(opening.use(upstreamAt(server.url, credentials)))
    places.push(server)
  }
  const [first, ...others] = sources
  assert.ok(first !== undefined)
  const source = mirrored(
    first,
    others.map((other, index) => ({ source: other, trusted: mirrors[index]?.endsWith('+') === true })),
    silentLogger,
  )
  const seen = places.map(() => 0)
  const resources = opening.move()
  return {
    places,
    source,
    repository: source.repository(name),
    asked: () =>
      places.flatMap(({ requests }, index) => {
        const isNew = requests.length > (seen[index] ?? 0)
        seen[index] = requests.length
        return isNew ? [index] : []
      }),
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

const questionsByDigest: ReadonlyArray<readonly [what: string, ask: (from: UpstreamRepository) => Promise<unknown>]> = [
  ['a manifest', async ({ manifests }) => await manifests.get(manifestDigest)],
  ['the size of a manifest', async ({ manifests }) => await manifests.stat(manifestDigest)],
  [
    'a blob',
    async ({ blobs }): Promise<void> => {
      await using body = (await blobs.fetch(blobDigest)).body
      assert.deepEqual(await collect(body, 10_000), blob)
    },
  ],
]

const questionsByName: ReadonlyArray<readonly [what: string, ask: (from: UpstreamRepository) => Promise<unknown>]> = [
  ['whether there is such a blob', async ({ blobs }) => await blobs.stat(blobDigest)],
  ['what a tag points at', async ({ tags }) => await tags.find(latest)],
  ['a tag resolved', async ({ tags }) => await tags.resolve(latest)],
  ['the manifest of a tag', async ({ tags }) => await tags.get(latest)],
  ['the tags', async ({ tags }) => assert.deepEqual(await Array.fromAsync(tags.list()), ['latest'])],
  ['referrers', async ({ referrers }) => assert.deepEqual(await referrers.find(manifestDigest), [])],
]

for (const [what, ask] of [...questionsByDigest, ...questionsByName]) {
  test(`${what}: the upstream itself is asked, and no mirror, as long as it answers`, async () => {
    await using all = await scene('good', 'good+')
    await ask(all.repository)
    assert.deepEqual(all.asked(), [0])
  })

  test(`${what}: where the upstream fails, the next place that has it answers`, async () => {
    for (const main of ['dead', 'limited'] as const) {
      await using all = await scene(main, 'empty+', 'denying+', 'dead+', 'good+', 'good+')
      await ask(all.repository)
      assert.deepEqual(all.asked(), [0, 1, 2, 3, 4])
    }
  })

  test(`${what}: what the upstream says is final, a no as well`, async () => {
    for (const main of ['empty', 'denying', 'refusing'] as const) {
      if (what === 'referrers' && main === 'empty') continue // it means that there is no API
      await using all = await scene(main, 'good+')
      if (main === 'empty') await assert.rejects(ask(all.repository), RegistryError)
      else await failure(ask(all.repository), main === 'denying' ? 'denied' : 'credentials-refused')
      assert.deepEqual(all.asked(), [0])
    }
  })

  test(`P10, ${what}: where nobody has it, the upstream's own failure is told`, async () => {
    await using all = await scene('limited', 'dead+', 'empty+', 'denying+')
    const { host } = all.places[0] ?? assert.fail()
    const error = await failure(ask(all.repository), 'rate-limited')
    assert.equal(error.host, host)
    assert.equal(error.retryAfter, 30)
    assert.deepEqual(all.asked(), [0, 1, 2, 3])
  })
}

for (const [what, ask] of questionsByDigest) {
  test(`${what}: any mirror will do for a digest`, async () => {
    await using all = await scene('dead', 'good')
    await ask(all.repository)
    assert.deepEqual(all.asked(), [0, 1])
  })
}

for (const [what, ask] of questionsByName) {
  test(`P8, ${what}: a mirror that is not trusted is never asked what a name means`, async () => {
    await using all = await scene('dead', 'good')
    await failure(ask(all.repository), 'unavailable')
    assert.deepEqual(all.asked(), [0])
  })
}

test('T-16: a mirror that has other bytes for a manifest is passed over', async () => {
  await using all = await scene('dead', 'lying', 'good')
  assert.deepEqual((await all.repository.manifests.get(manifestDigest)).bytes, manifest)
  assert.deepEqual(all.asked(), [0, 1, 2])
})

test('what a manifest is, and how large, is not believed of a mirror that is not trusted', async () => {
  await using main = await place('dead')
  const headers = { 'content-type': mediaTypes.dockerManifest, 'content-length': '7' }
  await using mirror = await scriptedServer(({ method }, response) =>
    method === 'HEAD' ? reply(response, 200, headers) : reply(response, 200, {}, manifest),
  )
  await using own = upstreamAt(main.url)
  await using other = upstreamAt(mirror.url)
  const { manifests } = mirrored(own, [{ source: other, trusted: false }], silentLogger).repository(name)
  assert.deepEqual(await manifests.stat(manifestDigest), {
    mediaType: mediaTypes.ociIndex,
    digest: manifestDigest,
    size: manifest.byteLength,
  })
})

test('each attempt at a blob begins at another place, and the upstream itself is never left out', async () => {
  const attempt = async (all: Scene, number: number): Promise<string> => {
    const { host, body } = await all.repository.blobs.fetch(blobDigest, { attempt: number })
    await body[Symbol.asyncDispose]?.()
    return host
  }
  {
    await using all = await scene('good', 'good', 'good')
    const hosts = all.places.map(({ host }) => host)
    for (const number of [0, 1, 2, 3, 4, 5]) assert.equal(await attempt(all, number), hosts[number % 3])
  }
  await using all = await scene('good', 'empty', 'dead')
  for (const number of [1, 2]) {
    assert.equal(await attempt(all, number), all.places[0]?.host)
    assert.deepEqual(all.asked(), [0, 1, 2])
  }
  ;(all.places[0] ?? assert.fail()).manner = 'denying'
  await failure(attempt(all, 1), 'denied')
})

test('a list that breaks off is not continued from another place', async () => {
  const breaking: UpstreamSource['repository'] = (of) => ({
    ...upstream.repository(of),
    tags: {
      ...upstream.repository(of).tags,
      async *list() {
        yield latest
        throw new Error('broken')
      },
    },
  })
  await using good = await place('good')
  await using upstream = upstreamAt(good.url)
  const condition = { isReachable: true, pullsLeft: undefined }
  const source = mirrored(
    { repository: breaking, condition: () => condition },
    [{ source: upstream, trusted: true }],
    silentLogger,
  )
  await assert.rejects(Array.fromAsync(source.repository(name).tags.list()), /broken/)
  assert.equal(good.requests.length, 0)
})

test('P5: a dead upstream costs nothing once that is known: only the mirror is asked', async () => {
  await using all = await scene('dead', 'good')
  for (let time = 0; time < 10; time += 1) await all.repository.manifests.get(manifestDigest)
  assert.equal(all.places[0]?.requests.length, 3)
  assert.equal(all.places[1]?.requests.length, 10)
})

test('it can be reached where its names can be asked for: at the upstream, or at a trusted mirror', async () => {
  const fail = async (all: Scene, index: number): Promise<void> => {
    ;(all.places[index] ?? assert.fail()).manner = 'dead'
    for (let time = 0; time < 3; time += 1) await assert.rejects(all.repository.manifests.get(manifestDigest))
  }
  for (const [mirror, isReachable] of [
    ['dead', false],
    ['empty', false],
    ['dead+', false],
    ['empty+', true],
  ] as const) {
    await using all = await scene('good', mirror)
    assert.equal(all.source.condition().isReachable, true)
    await fail(all, 0)
    assert.equal(all.source.condition().isReachable, isReachable, mirror)
  }
})

test('the pulls that are left are those of the upstream itself', async () => {
  await using server = await scriptedServer((_request, response) =>
    reply(response, 200, { 'ratelimit-remaining': '7' }, manifest),
  )
  await using other = await scriptedServer((_request, response) =>
    reply(response, 200, { 'ratelimit-remaining': '9' }, manifest),
  )
  await using upstream = upstreamAt(server.url)
  await using mirror = upstreamAt(other.url)
  const source = mirrored(upstream, [{ source: mirror, trusted: true }], silentLogger)
  await mirror.repository(name).manifests.get(manifestDigest)
  assert.equal(source.condition().pullsLeft, undefined)
  await source.repository(name).manifests.get(manifestDigest)
  assert.equal(source.condition().pullsLeft, 7)
})
