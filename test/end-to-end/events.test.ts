// Events of a whole server: over a kill, with a disk that is full, and beside distribution's own.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { startSink, type Sink, type Told } from '../events/sink.ts'
import { ask, type AskOptions } from '../support/client.ts'
import {
  checkout,
  entrepotAt,
  startEntrepot,
  startProcess,
  temporaryFolder,
  without,
  type Entrepot,
  type Folder,
} from '../support/real-parts.ts'

function configOf(folder: Folder, url: string | URL): string {
  return `version: 0.1
storage: { filesystem: { rootdirectory: ${folder.path}/data }, delete: { enabled: true } }
http: { addr: 127.0.0.1:0 }
notifications: { endpoints: [{ name: sink, url: "${String(url)}", backoff: 20ms }] }
`
}

async function pushBlob(url: string, repository: string, bytes: Uint8Array | string): Promise<Digest> {
  const digest = digestOf(bytes)
  const { status } = await ask(`${url}/v2/${repository}/blobs/uploads/?digest=${digest}`, {
    method: 'POST',
    body: bytes,
  })
  assert.equal(status, 201)
  return digest
}

const nowhere = 'http://127.0.0.1:1/'

test('P9: killed while an endpoint is away, the next server delivers what it had', { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder()
  const digests: Digest[] = []
  {
    await using killed = await startEntrepot(folder, configOf(folder, nowhere))
    for (let index = 0; index < 20; index += 1) digests.push(await pushBlob(killed.url, 'a', `blob ${index}`))
    assert.equal((await ask(`${killed.url}/v2/`)).status, 200) // behind the turn in which the last event was written
    assert.equal(await killed.process.stop('SIGKILL'), null)
  }
  await using sink = await startSink()
  await using entrepot = await startEntrepot(folder, configOf(folder, sink.url))
  const told = await sink.until(20)
  assert.deepEqual(
    told.map(({ action, target }) => [action, target['digest']]),
    digests.map((digest) => ['push', digest]),
  )
  assert.equal(await entrepot.stop(), 0)
  assert.equal(sink.told.length, 20)
})

test('P9: killed again and again while it delivers, no event is lost', { timeout: 120_000 }, async () => {
  await using folder = await temporaryFolder()
  await using sink = await startSink()
  const digests: Digest[] = []
  for (let round = 0; round < 4; round += 1) {
    await using killed = await startEntrepot(folder, configOf(folder, sink.url))
    for (let index = 0; index < 10; index += 1) digests.push(await pushBlob(killed.url, 'a', `blob ${round} ${index}`))
    assert.equal((await ask(`${killed.url}/v2/`)).status, 200)
    await killed.process.stop('SIGKILL')
  }
  await using _ = await startEntrepot(folder, configOf(folder, sink.url))
  const heard = (): Set<unknown> => new Set(sink.told.map(({ target }) => target['digest']))
  while (heard().size < digests.length) await sink.until(sink.told.length + 1)
  const firsts = sink.told.filter(({ id }, index) => sink.told.findIndex((one) => one.id === id) === index)
  assert.deepEqual(
    firsts.map(({ target }) => target['digest']),
    digests,
  )
})

test('P8, T-95: neither the URL nor the headers of an endpoint are in the log or in a file', async () => {
  await using folder = await temporaryFolder()
  await using sink = await startSink((_, response) => void response.writeHead(500).end('canary'))
  const url = `http://canary:canary@${sink.host}/canary?canary`
  const text = configOf(folder, url).replace('backoff:', 'threshold: 1, headers: { X-Token: [canary] }, backoff:')
  await using entrepot = await startEntrepot(folder, text)
  await pushBlob(entrepot.url, 'a', 'blob')
  await entrepot.process.waitFor(/endpoint fails: its events wait/)
  const [request] = sink.requests
  assert.deepEqual([request?.url, request?.headers['x-token']], ['/canary?canary', 'canary'])
  const files = await readdir(join(folder.path, 'data'), { recursive: true, withFileTypes: true })
  const queue = files.filter((entry) => entry.isFile() && entry.name.startsWith('queue-'))
  assert.ok(queue.length > 0)
  for (const { parentPath, name } of queue)
    assert.ok(!(await readFile(join(parentPath, name))).includes('canary'), name)
  assert.equal(await entrepot.stop(), 0)
  assert.doesNotMatch(entrepot.process.output(), /canary/)
})

/** No file of it grows beyond so many bytes: what a full disk looks like to whoever writes. */
async function startLimited(folder: Folder, text: string): Promise<Entrepot> {
  const file = await folder.write('limited.yml', text)
  const script = `ulimit -f 256; exec "$0" src/main.ts serve "$1"` // 128 KiB, in blocks of 512 bytes
  return await entrepotAt(await startProcess('/bin/sh', ['-c', script, process.execPath, file], { cwd: checkout }))
}

test('T-31: where the queue cannot be written any more, events are dropped and requests go on', async () => {
  await using folder = await temporaryFolder()
  await using entrepot = await startLimited(folder, configOf(folder, nowhere))
  for (let index = 0; index < 300; index += 1) {
    const digest = await pushBlob(entrepot.url, 'a', `blob ${index}`)
    assert.equal((await ask(`${entrepot.url}/v2/a/blobs/${digest}`)).status, 200)
  }
  const dropping = entrepot.lines().filter(({ msg }) => msg === 'events cannot be kept: they are dropped')
  assert.equal(dropping.length, 1)
  assert.equal(await entrepot.stop(), 0)
  assert.ok((await readdir(join(folder.path, 'data/entrepot/events'))).includes('queue-0.sqlite'))

  await using sink = await startSink()
  await using again = await startEntrepot(folder, configOf(folder, sink.url))
  await sink.until(1) // what had found room
  assert.equal((await ask(`${again.url}/v2/`)).status, 200)
})

const ociManifest = 'application/vnd.oci.image.manifest.v1+json'

/** The same for both, whose ids, times and addresses differ. */
function comparable(url: string, { action, target, request, actor }: Told): object {
  const { method, useragent, host } = request ?? {}
  const place = typeof target['url'] === 'string' ? { url: target['url'].replace(url, '') } : {}
  return {
    action,
    target: { ...target, ...place },
    request: { method, useragent, isOurs: url.endsWith(`${host}`) },
    actor,
  }
}

/** What a sink is told of a client's day. */
async function day(url: string, sink: Sink): Promise<object[]> {
  const layer = Buffer.from('a layer')
  const config = Buffer.from('{}')
  const document = JSON.stringify({
    schemaVersion: 2,
    mediaType: ociManifest,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: 2 },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(layer), size: layer.byteLength }],
  })
  const manifest = digestOf(document)
  const headers = { 'user-agent': 'a client', accept: ociManifest }
  const step = async (status: number, count: number, path: string, options: AskOptions = {}): Promise<string> => {
    const before = sink.told.length
    const answer = await ask(path.startsWith('http') ? path : `${url}/v2/${path}`, {
      ...options,
      headers: { ...headers, ...options.headers },
    })
    assert.equal(answer.status, status, `${url} ${path} ${answer.body.toString()}`)
    await sink.until(before + count)
    return String(answer.headers['location'])
  }
  const begun = await step(202, 0, 'a/blobs/uploads/', { method: 'POST' })
  await step(201, 1, `${begun}&digest=${digestOf(config)}`, { method: 'PUT', body: config })
  const session = await step(202, 0, 'a/blobs/uploads/', { method: 'POST' })
  const type = { 'content-type': 'application/octet-stream' }
  const appended = await step(202, 0, session, { method: 'PATCH', body: layer, headers: type })
  await step(201, 1, `${appended}&digest=${digestOf(layer)}`, { method: 'PUT' })
  const put = { method: 'PUT', body: document, headers: { 'content-type': ociManifest } }
  await step(201, 1, 'a/manifests/v1', put)
  await step(201, 1, `a/manifests/${manifest}`, put)
  for (const method of ['GET', 'HEAD']) {
    await step(200, 1, 'a/manifests/v1', { method })
    await step(200, 1, `a/manifests/${manifest}`, { method })
    await step(200, 1, `a/blobs/${digestOf(layer)}`, { method })
    await step(304, 0, 'a/manifests/v1', { method, headers: { 'if-none-match': `"${manifest}"` } })
  }
  await step(206, 1, `a/blobs/${digestOf(layer)}`, { headers: { range: 'bytes=1-2' } })
  await step(201, 1, `b/blobs/uploads/?mount=${digestOf(layer)}&from=a`, { method: 'POST' })
  await step(404, 0, 'a/manifests/v2')
  await step(202, 2, `a/manifests/${manifest}`, { method: 'DELETE' })
  await step(202, 1, `b/blobs/${digestOf(layer)}`, { method: 'DELETE' })
  return sink.told.map((told) => comparable(url, told))
}

test(
  "the same requests make the same events as distribution's",
  { skip: without('docker-registry'), timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder()
    await using theirs = await startSink()
    const config = await folder.write(
      'distribution.yml',
      `version: 0.1
log: { level: info }
storage: { filesystem: { rootdirectory: ${folder.path}/theirs }, delete: { enabled: true } }
http: { addr: 127.0.0.1:0, secret: none }
notifications: { events: { includereferences: true }, endpoints: [{ name: sink, url: "${theirs.url.href}" }] }
`,
    )
    await using distribution = await startProcess('docker-registry', ['serve', config])
    const [, host] = await distribution.waitFor(/listening on (127\.0\.0\.1:\d+)/)
    await using ours = await startSink()
    await using entrepot = await startEntrepot(
      folder,
      configOf(folder, ours.url).replace('notifications: {', 'notifications: { events: { includereferences: true },'),
    )
    assert.deepEqual(await day(entrepot.url, ours), await day(`http://${host}`, theirs))
    for (const { headers } of [...ours.requests, ...theirs.requests]) {
      assert.match(String(headers['content-type']), /^application\/vnd\.docker\.distribution\.events\.v[12]\+json$/)
    }
    for (const [index, told] of ours.told.entries()) {
      assert.deepEqual(Object.keys(told), Object.keys(theirs.told[index] ?? {}))
    }
  },
)
