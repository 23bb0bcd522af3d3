// What Prometheus is shown by a running server.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, open, pull } from '../support/client.ts'
import { scrape, type Exposition } from '../support/exposition.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import { until } from '../support/proxy-under-test.ts'

const http = {
  addr: '127.0.0.1:0',
  draintimeout: '0s',
  debug: { addr: '127.0.0.1:0', prometheus: { enabled: true } },
}

async function metricsOf(app: AppUnderTest): Promise<Exposition> {
  return await scrape(`${app.app.debugUrl ?? ''}/metrics`)
}

test("distribution's names and ours, for a pull that misses and one that hits", async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const layer = randomBlob(200_000)
  const image = await origin.addImage('app', 'v1', [layer.bytes])
  origin.dial = (request) =>
    request.path.includes('/manifests/')
      ? { headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' } }
      : undefined
  await using app = await startAppUnderTest({
    http,
    storage: { filesystem: { rootdirectory: folder.path } },
    proxy: {
      upstreams: { up: { url: origin.url, default: true, mirrors: ['http://127.0.0.1:9'] } },
      cache: { maxsize: '1GiB' },
    },
  })
  const path = `/v2/app/blobs/${layer.digest}`
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).digest, image.manifest)
  assert.equal((await pull(app.url + path)).digest, layer.digest)
  await app.until((line) => line['msg'] === 'fill stored')
  assert.equal((await pull(app.url + path)).digest, layer.digest)
  assert.equal((await ask(`${app.url}/v2/app/blobs/sha256:${'0'.repeat(64)}`)).status, 404)
  await app.until((line) => line['msg'] === 'survey of the storage done')
  await until(async () => (await metricsOf(app)).sum('entrepot_cache_bytes') > 200_000)
  const { types, samples, sum } = await metricsOf(app)
  const blob = { handler: 'blob', method: 'get' }
  assert.equal(sum('registry_http_requests_total', { ...blob, code: '200' }), 2)
  assert.equal(sum('registry_http_requests_total', { ...blob, code: '404' }), 1)
  assert.equal(sum('registry_http_request_duration_seconds_count', blob), 3)
  assert.ok(sum('registry_http_response_size_bytes_sum', { handler: 'blob' }) >= 400_000)
  assert.equal(sum('registry_http_in_flight_requests'), 0)
  assert.deepEqual(
    ['requests', 'hits', 'misses'].map((what) => sum(`registry_proxy_${what}_total`, { type: 'blob' })),
    [3, 1, 2],
  )
  assert.equal(sum('registry_proxy_requests_total', { type: 'manifest' }), 1)
  assert.equal(sum('registry_proxy_pushed_bytes_total', { type: 'blob' }) >= 400_000, true)
  const pulled = sum('registry_proxy_pulled_bytes_total', { type: 'blob' })
  assert.ok(pulled >= 200_000 && pulled < 201_000, String(pulled))
  assert.deepEqual(
    ['local', 'fill', 'none'].map((from) =>
      sum('entrepot_proxy_answers_total', { upstream: 'up', type: 'blob', from }),
    ),
    [1, 1, 1],
  )
  const host = new URL(origin.url).host
  assert.equal(sum('entrepot_upstream_received_bytes_total', { upstream: 'up', host, type: 'blob' }), pulled)
  assert.ok(sum('entrepot_upstream_requests_total', { upstream: 'up', host, answer: '2xx' }) >= 2)
  assert.equal(sum('entrepot_upstream_requests_total', { upstream: 'up', host, answer: '4xx' }), 1)
  assert.equal(sum('entrepot_upstream_reachable'), 2)
  assert.equal(sum('entrepot_upstream_pulls_left', { upstream: 'up', host }), 76)
  assert.equal(sum('entrepot_fills_total', { result: 'stored' }), 1)
  assert.equal(samples.get('entrepot_fills_running{}'), 0)
  assert.equal(samples.get('entrepot_cache_max_bytes{}'), 2 ** 30)
  assert.ok(sum('registry_storage_action_seconds_count', { driver: 'filesystem', action: 'Writer' }) > 0)
  assert.ok((samples.get('registry_storage_cache_requests_total{}') ?? 0) > 0)
  assert.ok((samples.get('process_resident_memory_bytes{}') ?? 0) > 0)
  for (const [name, type] of Object.entries({
    registry_http_requests_total: 'counter',
    registry_http_request_duration_seconds: 'histogram',
    registry_http_in_flight_requests: 'gauge',
    registry_storage_action_seconds: 'histogram',
    registry_storage_cache_hits_total: 'counter',
    registry_storage_cache_errors_total: 'counter',
    entrepot_stale_answers_total: 'counter',
    entrepot_fill_followers: 'gauge',
    entrepot_fill_resumes_total: 'counter',
    entrepot_evicted_bytes_total: 'counter',
    entrepot_verify_failures_total: 'counter',
    nodejs_eventloop_lag_p99_seconds: 'gauge',
    process_cpu_seconds_total: 'counter',
    process_open_fds: 'gauge',
  })) {
    assert.equal(types.get(name), type, name)
  }
})

test('what goes wrong is counted: a transfer that breaks, bytes that lie, an answer that is stale', async () => {
  await using origin = await startOrigin()
  const layers = [randomBlob(300_000), randomBlob(300_000)] as const
  await origin.addImage(
    'app',
    'v1',
    layers.map(({ bytes }) => bytes),
  )
  let isBroken = false
  origin.dial = ({ path }) => {
    if (path.endsWith(layers[0].digest) && !isBroken) {
      isBroken = true
      return {
        async *body(chunks) {
          for await (const chunk of chunks) {
            yield chunk.subarray(0, 1000)
            throw new Error('cut')
          }
        },
      }
    }
    if (path.endsWith(layers[1].digest)) {
      return {
        async *body(chunks) {
          for await (const chunk of chunks) yield Buffer.alloc(chunk.byteLength)
        },
      }
    }
    return undefined
  }
  await using app = await startAppUnderTest({
    http,
    proxy: { upstreams: { up: { url: origin.url, default: true } }, freshness: '0s' },
  })
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).status, 200)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${layers[0].digest}`)).digest, layers[0].digest)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${layers[1].digest}`)).complete, false)
  await app.until(({ msg }) => msg === 'fill failed')
  await origin.stop()
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).status, 200)
  const { sum } = await metricsOf(app)
  assert.equal(sum('entrepot_fill_resumes_total'), 1)
  assert.equal(sum('entrepot_fills_total', { result: 'failed' }), 1)
  assert.equal(sum('entrepot_verify_failures_total', { source: 'upstream' }), 1)
  assert.equal(sum('entrepot_stale_answers_total', { upstream: 'up' }), 1)
  assert.ok(sum('entrepot_upstream_requests_total', { upstream: 'up', answer: 'none' }) >= 1)
})

test('a client that leaves before it is answered is no error of ours', async () => {
  await using origin = await startOrigin()
  const { promise: asked, resolve: ask_ } = Promise.withResolvers<void>()
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  origin.dial = () => {
    ask_()
    return { wait: held }
  }
  await using app = await startAppUnderTest({ http, proxy: { upstreams: { up: { url: origin.url, default: true } } } })
  const leaving = get(`${app.url}/v2/app/blobs/${randomBlob(1).digest}`, { agent: false })
  leaving.on('error', () => {}) // it is ours
  await asked
  leaving.destroy()
  await app.until(({ msg, status }) => msg === 'request aborted' && status === 499)
  release()
  const { sum } = await metricsOf(app)
  assert.equal(sum('registry_http_requests_total', { handler: 'blob', code: '499' }), 1)
  assert.equal(sum('registry_http_requests_total', { code: '500' }), 0)
})

test('what a client was sent counts, also where it left before the end', async () => {
  await using origin = await startOrigin()
  const layer = randomBlob(32 * 1024 * 1024)
  await origin.addBlob('app', layer.bytes)
  await using app = await startAppUnderTest({ http, proxy: { upstreams: { up: { url: origin.url, default: true } } } })
  const leaving = await open(`${app.url}/v2/app/blobs/${layer.digest}`)
  await once(leaving, 'readable')
  leaving.destroy()
  await app.until(({ msg }) => msg === 'request aborted')
  const { bytes } = app.lines.find(({ msg }) => msg === 'request aborted') ?? {}
  assert.ok(Number(bytes) > 0 && Number(bytes) < layer.bytes.length, String(bytes))
  const { sum } = await metricsOf(app)
  assert.equal(sum('registry_proxy_pushed_bytes_total', { type: 'blob' }), bytes)
  assert.equal(sum('registry_http_response_size_bytes_sum', { handler: 'blob' }), bytes)
})

test('T-94: a length that a client only claims is counted nowhere', async () => {
  await using app = await startAppUnderTest({ http })
  const { port } = new URL(app.url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write('GET /v2/ HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000000000000000\r\n\r\n')
  await once(socket, 'data')
  socket.destroy()
  const { bytes, digest } = randomBlob(5)
  await ask(`${app.url}/v2/a/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
  const { sum } = await metricsOf(app)
  assert.equal(sum('registry_http_request_size_bytes_sum', { handler: 'base' }), 0)
  assert.equal(sum('registry_http_request_size_bytes_count', { handler: 'base' }), 1)
  assert.equal(sum('registry_http_request_size_bytes_sum', { handler: 'blob_upload' }), 5)
})

test('T-94: repositories, tags, digests, methods and user agents of clients make no series', async () => {
  await using app = await startAppUnderTest({ http, proxy: { remoteurl: 'http://127.0.0.1:9', offline: true } })
  const round = async (index: number): Promise<void> => {
    const name = `team${index}/app${index}`
    const agent = { 'user-agent': `agent/${index}` }
    const digest = `sha256:${String(index).padStart(64, '0')}`
    await Promise.all([
      ask(`${app.url}/v2/${name}/manifests/v${index}`, { headers: agent }),
      ask(`${app.url}/v2/${name}/blobs/${digest}`, { headers: agent }),
      ask(`${app.url}/v2/${name}/tags/list?ns=n${index}`, { headers: agent }),
      ask(`${app.url}/nowhere/${index}`, { headers: agent }),
      ask(`${app.url}/v2/`, { method: ['PROPFIND', 'LOCK', 'REPORT', 'MKCOL'][index % 4] ?? '', headers: agent }),
    ])
  }
  for (let index = 0; index < 4; index++) await round(index)
  const before = [...(await metricsOf(app)).samples.keys()]
  for (let index = 4; index < 64; index++) await round(index)
  const after = await metricsOf(app)
  const isOurs = (key: string): boolean => /^(?:registry|entrepot)_/.test(key)
  assert.deepEqual(after.samples.size > 0 && [...after.samples.keys()].filter(isOurs), before.filter(isOurs))
  assert.doesNotMatch([...after.samples.keys()].join('\n'), /team|agent\/|propfind|nowhere/)
  assert.equal(after.sum('registry_http_requests_total', { method: 'other' }), 64)
})

test('where nobody asked for metrics there are none', async () => {
  await using app = await startAppUnderTest({ http: { ...http, debug: { addr: '127.0.0.1:0' } } })
  assert.equal((await ask(`${app.app.debugUrl ?? ''}/metrics`)).status, 404)
})
