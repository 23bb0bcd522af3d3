import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { Metrics } from '../../src/metrics/metrics.ts'
import { RequestMetrics } from '../../src/metrics/requests.ts'
import type { Request } from '../../src/http/exchange.ts'
import { parseExposition } from '../support/exposition.ts'

const descriptors = (): { requests: number; hits: number; errors: number } => ({ requests: 1, hits: 0, errors: 0 })

async function textOf(metrics: Metrics): Promise<string> {
  const { body } = await metrics.page({} as Request)
  assert.ok(body instanceof Uint8Array)
  return Buffer.from(body).toString()
}

test('endpoints of events are told in the words of distribution, where there are any', async () => {
  const without = new Metrics()
  without.read({ descriptors, damaged: () => 0, places: [] })
  assert.doesNotMatch(await textOf(without), /registry_notifications|entrepot_cache_bytes/)
  const metrics = new Metrics()
  const statuses = { '200 OK': 3 }
  const counts = { pending: 2, events: 7, successes: 3, failures: 1, errors: 1, dropped: 4, statuses }
  metrics.read({ descriptors, damaged: () => 0, places: [], notifications: () => [{ name: 'alice', ...counts }] })
  const { sum, types } = parseExposition(await textOf(metrics))
  assert.equal(sum('registry_notifications_events_total', { endpoint: 'alice', type: 'Events' }), 7)
  assert.equal(sum('registry_notifications_events_total', { endpoint: 'alice', type: 'Failures' }), 1)
  assert.equal(sum('registry_notifications_status_total', { endpoint: 'alice', code: '200 OK' }), 3)
  assert.equal(sum('registry_notifications_pending_total', { endpoint: 'alice' }), 2)
  assert.equal(types.get('registry_notifications_pending_total'), 'gauge')
  assert.equal(sum('entrepot_notifications_dropped_total', { endpoint: 'alice' }), 4)
})

test('what is not known yet is not told, and told again as it changes', async () => {
  let size: number | undefined
  const metrics = new Metrics()
  metrics.read({ descriptors, damaged: () => 0, places: [], eviction: () => ({ images: 0, blobs: 0, bytes: 0, size }) })
  assert.equal(parseExposition(await textOf(metrics)).samples.has('entrepot_cache_bytes{}'), false)
  size = 5
  assert.equal(parseExposition(await textOf(metrics)).samples.get('entrepot_cache_bytes{}'), 5)
  size = undefined
  assert.equal(parseExposition(await textOf(metrics)).samples.has('entrepot_cache_bytes{}'), false)
})

test('a request is in flight from its beginning to its end, under the route that it turned out to name', () => {
  const requests = new RequestMetrics(new Registry())
  const request = { method: 'GET', headers: {}, log: {} } as unknown as Request
  const inFlight = (handler: string): number | undefined => {
    const reading = requests.readings().find(({ name }) => name === 'registry_http_in_flight_requests')
    return [...(reading?.read() ?? [])].find(({ labels }) => labels['handler'] === handler)?.value
  }
  requests.begin(request)
  assert.equal(inFlight('unknown'), 1)
  request.log['kind'] = 'upload'
  assert.deepEqual([inFlight('unknown'), inFlight('blob_upload_chunk')], [0, 1])
  requests.end(request, { status: 202, bytes: 0, received: 0, ms: 1, failure: undefined })
  assert.equal(inFlight('blob_upload_chunk'), 0)
})
