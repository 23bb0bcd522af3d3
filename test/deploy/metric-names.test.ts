// What dashboards and alerts ask for is what a running server shows: names, and labels.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { isTree, readYaml } from '../../src/config/tree.ts'
import { startAppUnderTest, temporaryFolder } from '../support/app-under-test.ts'
import { pull } from '../support/client.ts'
import { scrape } from '../support/exposition.ts'
import { startOrigin } from '../support/origin.ts'
import { until } from '../support/proxy-under-test.ts'

const folder = resolve(import.meta.dirname, '../../deploy')

/** Every text under a key of that name, however deep. */
function textsAt(value: unknown, wanted: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => textsAt(item, wanted))
  if (!isTree(value)) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === wanted && typeof inner === 'string' ? [inner] : textsAt(inner, wanted),
  )
}

function expressions(): string[] {
  const dashboard: unknown = JSON.parse(readFileSync(resolve(folder, 'grafana-dashboard.json'), 'utf8'))
  const alerts = readYaml(readFileSync(resolve(folder, 'prometheus-alerts.yml'), 'utf8'))
  assert.ok('value' in alerts)
  const found = [textsAt(dashboard, 'expr'), textsAt(dashboard, 'query'), textsAt(alerts.value, 'expr')]
  for (const some of found) assert.ok(some.length > 0)
  return found.flat()
}

/** Names of metrics in an expression, each with the labels that it is asked for by. */
function metricsIn(expression: string): { name: string; labels: string[] }[] {
  const bare = expression.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')
  const grouped = [...bare.matchAll(/\b(?:by|without) \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/, */))
  return [...bare.matchAll(/\b((?:registry|entrepot|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)].map(
    ([, name = '', matchers = '']) => ({
      name,
      labels: [...[...matchers.matchAll(/(\w+)(?:=~?|!=|!~)/g)].map(([, label = '']) => label), ...grouped],
    }),
  )
}

/** What Prometheus adds by itself. */
const added = new Set(['instance', 'job'])

test('every metric and label of the dashboard and the alerts is one of a running server', async () => {
  await using storage = await temporaryFolder()
  await using origin = await startOrigin()
  await origin.addImage('app', 'v1', [Buffer.from('a layer')])
  origin.dial = () => ({ headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' } })
  await using app = await startAppUnderTest({
    http: { addr: '127.0.0.1:0', draintimeout: '0s', debug: { addr: '127.0.0.1:0', prometheus: { enabled: true } } },
    storage: { filesystem: { rootdirectory: storage.path } },
    proxy: { upstreams: { up: { url: origin.url, default: true } }, cache: { maxsize: '1GiB' } },
    notifications: { endpoints: [{ name: 'listener', url: origin.url }] },
  })
  assert.equal((await pull(`${app.url}/v2/app/manifests/v1`)).status, 200)
  const url = `${app.app.debugUrl ?? ''}/metrics`
  await until(async () => (await scrape(url)).samples.has('entrepot_cache_bytes{}'))
  const labels = new Map<string, Set<string>>()
  for (const key of (await scrape(url)).samples.keys()) {
    const [name = '', inside = ''] = key.split(/[{}]/)
    const known = labels.get(name) ?? new Set<string>()
    for (const [, label = ''] of inside.matchAll(/(\w+)="/g)) known.add(label)
    labels.set(name, known)
  }
  const asked = expressions().flatMap(metricsIn)
  for (const metric of asked) {
    const known = labels.get(metric.name)
    assert.ok(known !== undefined, `${metric.name} is not shown`)
    for (const label of metric.labels) assert.ok(known.has(label) || added.has(label), `${metric.name} has no ${label}`)
  }
  const names = new Set(asked.map(({ name }) => name))
  assert.ok(names.size >= 25, `only ${names.size} metrics were found in the expressions`)
})

test('what is left of an expression without its metrics is words of PromQL', () => {
  const words =
    /^(?:sum|min|max|rate|increase|histogram_quantile|label_values|by|without|ignoring|and|or|unless|on|up|prometheus|le|\d[\d.]*[smh]?|__rate_interval)$/
  for (const expression of expressions()) {
    const rest = expression
      .replaceAll(/"(?:[^"\\]|\\.)*"/g, '')
      .replaceAll(/\b(?:by|without|ignoring) \([^)]*\)/g, '')
      .replaceAll(/\{[^}]*\}/g, '')
      .replaceAll(/\b(?:registry|entrepot|process|nodejs)_\w+/g, '')
    for (const [word] of rest.matchAll(/[\w.]+/g))
      assert.match(word, word === 'instance' ? /instance/ : words, expression)
  }
})
