// Traces, as a collector receives them.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'

interface SeenSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly status: { readonly code?: number }
}

interface Collector extends AsyncDisposable {
  readonly url: string
  readonly spans: SeenSpan[]
  readonly services: Set<unknown>
  readonly places: Set<unknown>
  readonly tokens: Set<unknown>
  status: number
}

type Attributes = readonly { key: string; value: Record<string, unknown> }[]

interface Payload {
  resourceSpans: {
    resource: { attributes: Attributes }
    scopeSpans: { spans: (Omit<SeenSpan, 'attributes'> & { attributes: Attributes })[] }[]
  }[]
}

function plain(attributes: Attributes): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}

/** OTLP over HTTP, as much as an exporter needs of it. */
async function startCollector(): Promise<Collector> {
  const spans: SeenSpan[] = []
  const services = new Set<unknown>()
  const places = new Set<unknown>()
  const tokens = new Set<unknown>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      tokens.add(request.headers['x-token'])
      if (collector.status === 200 && request.url === '/v1/traces') {
        const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as Payload
        for (const { resource, scopeSpans } of resourceSpans) {
          const attributes = plain(resource.attributes)
          services.add(attributes['service.name'])
          places.add(attributes['k8s.pod.name'])
          for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
            spans.push({ ...span, attributes: plain(span.attributes) })
          }
        }
      }
      response.writeHead(collector.status, { 'content-type': 'application/json' }).end('{}')
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    services,
    places,
    tokens,
    status: 200,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return collector
}

const traceId = '0af7651916cd43dd8448eb211c80319c'
const parent = 'b7ad6b7169203331'

test("a client's request and what an upstream is asked for it are one trace", async () => {
  await using collector = await startCollector()
  await using origin = await startOrigin()
  await using cdn = await startOrigin()
  const layer = randomBlob(100_000)
  await origin.addImage('app', 'v1', [layer.bytes])
  await cdn.addBlob('elsewhere', layer.bytes)
  const parents: unknown[] = []
  const strangers: unknown[] = []
  origin.dial = (request) => {
    parents.push(request.headers['traceparent'])
    if (!request.path.endsWith(layer.digest)) return undefined
    const location = `${cdn.url}/v2/elsewhere/blobs/${layer.digest}?signature=secret`
    return { reply: { status: 307, headers: { location } } }
  }
  cdn.dial = (request) => {
    strangers.push(request.headers['traceparent'])
    return undefined
  }
  {
    await using app = await startAppUnderTest(
      { proxy: { upstreams: { up: { url: origin.url, default: true } } } },
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_EXPORTER_OTLP_HEADERS: 'x-token=t',
        OTEL_SERVICE_NAME: 'mirror',
        OTEL_RESOURCE_ATTRIBUTES: 'k8s.pod.name=mirror-7',
      },
    )
    const headers = { traceparent: `00-${traceId}-${parent}-01` }
    assert.equal((await pull(`${app.url}/v2/app/manifests/v1?secret=canary`, headers)).status, 200)
    assert.equal((await pull(`${app.url}/v2/app/blobs/${layer.digest}`, headers)).digest, layer.digest)
    await app.until(({ msg }) => msg === 'fill stored')
    assert.equal(app.lines.find(({ kind }) => kind === 'manifest')?.['trace'], traceId)
  }
  assert.deepEqual([[...collector.services], [...collector.tokens]], [['mirror'], ['t']])
  assert.deepEqual([...collector.places], ['mirror-7'])
  assert.ok(collector.spans.every((span) => span.traceId === traceId))
  const servers = collector.spans.filter((span) => span.parentSpanId === parent)
  assert.deepEqual(
    servers.map(({ name }) => name),
    ['GET manifest', 'GET blob'],
  )
  const [manifest, blob] = servers
  assert.equal(manifest?.attributes['url.path'], '/v2/app/manifests/v1')
  assert.equal(blob?.attributes['http.response.status_code'], 200)
  assert.equal(blob?.attributes['entrepot.upstream'], 'up')
  const below = collector.spans.filter((span) => span.parentSpanId === blob?.spanId)
  assert.deepEqual(
    below.map(({ attributes }) => [attributes['server.address'], attributes['http.response.status_code']]),
    [
      [new URL(origin.url).host, 307],
      [new URL(cdn.url).host, 200],
    ],
  )
  assert.ok(collector.spans.some((span) => span.parentSpanId === manifest?.spanId))
  assert.ok(parents.length > 0 && parents.every((one) => String(one).startsWith(`00-${traceId}-`)))
  assert.ok(parents.some((one) => one === `00-${traceId}-${below[0]?.spanId}-01`))
  assert.deepEqual(strangers, [undefined], 'P8: hosts that a redirect leads to hear nothing')
  assert.doesNotMatch(JSON.stringify(collector.spans), /secret|canary|signature/)
})

test('the span of a client that leaves ends, and is no error of ours', async () => {
  await using collector = await startCollector()
  await using origin = await startOrigin()
  const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>()
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  origin.dial = ({ path }) => {
    onAsked()
    return path.includes('/blobs/') ? { wait: held } : undefined
  }
  {
    await using app = await startAppUnderTest(
      { proxy: { upstreams: { up: { url: origin.url, default: true } } } },
      { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    )
    const leaving = get(`${app.url}/v2/app/blobs/${randomBlob(1).digest}`, { agent: false })
    leaving.on('error', () => {}) // it is ours
    await asked
    leaving.destroy()
    await app.until(({ msg }) => msg === 'request aborted')
    release()
  }
  const span = collector.spans.find(({ name }) => name === 'GET blob')
  assert.equal(span?.attributes['http.response.status_code'], 499)
  assert.ok(span.status.code === undefined || span.status.code === 0, JSON.stringify(span.status))
})

test('without the variables nothing is sent or passed on, and no log line has a trace', async () => {
  await using origin = await startOrigin()
  await origin.addImage('app', 'v1', [])
  const parents: unknown[] = []
  origin.dial = (request) => {
    parents.push(request.headers['traceparent'])
    return undefined
  }
  await using app = await startAppUnderTest({ proxy: { remoteurl: origin.url } })
  const headers = { traceparent: `00-${traceId}-${parent}-01` }
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`, headers)).status, 200)
  assert.ok(parents.length > 0 && parents.every((one) => one === undefined))
  assert.ok(app.lines.every((line) => !('trace' in line)))
})

test('a client that does not want to be recorded is not', async () => {
  await using collector = await startCollector()
  {
    await using app = await startAppUnderTest({}, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
    assert.equal((await ask(`${app.url}/v2/`, { headers: { traceparent: `00-${traceId}-${parent}-00` } })).status, 200)
    assert.equal((await ask(`${app.url}/v2/`)).status, 200)
  }
  assert.deepEqual(
    collector.spans.map(({ name }) => name),
    ['GET base'],
  )
  assert.notEqual(collector.spans[0]?.traceId, traceId)
})

test('P7: a collector that refuses is said once, and holds nobody up', async () => {
  await using collector = await startCollector()
  collector.status = 400
  let lines: Record<string, unknown>[] = []
  {
    await using app = await startAppUnderTest({}, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
    lines = app.lines
    for (let index = 0; index < 600; index++) assert.equal((await ask(`${app.url}/v2/`)).status, 200)
  }
  assert.equal(lines.filter(({ msg }) => msg === 'traces cannot be delivered').length, 1)
})
