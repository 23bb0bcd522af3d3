// Prometheus' text, read back strictly: what it would refuse fails here.
import assert from 'node:assert/strict'
import { ask } from './client.ts'

export interface Exposition {
  /** Names of metrics with their types, as declared. */
  readonly types: ReadonlyMap<string, string>
  /** `name{label="value",…}` with sorted labels → value. */
  readonly samples: ReadonlyMap<string, number>
  /** The sum of a metric's samples with such labels. */
  readonly sum: (name: string, labels?: Readonly<Record<string, string>>) => number
}

export async function scrape(url: string): Promise<Exposition> {
  const { status, headers, body } = await ask(url)
  assert.equal(status, 200)
  assert.match(headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/)
  return parseExposition(body.toString())
}

export function parseExposition(text: string): Exposition {
  const types = new Map<string, string>()
  const samples = new Map<string, number>()
  const parsed: { name: string; labels: Record<string, string>; value: number }[] = []
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line)
    if (type !== null) {
      assert.ok(!types.has(type[1] ?? ''), `declared twice: ${line}`)
      types.set(type[1] ?? '', type[2] ?? '')
      continue
    }
    if (line.startsWith('# HELP ')) continue
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
    assert.ok(sample !== null, `not a sample: ${line}`)
    const [, name = '', inside = '', number = ''] = sample
    const labels = Object.fromEntries(
      [...inside.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\\n]|\\.)*)"(?:,|$)/g)].map(([, key = '', value = '']) => [
        key,
        value,
      ]),
    )
    const value = number === '+Inf' ? Infinity : Number(number)
    assert.ok(/^nan$/i.test(number) || !Number.isNaN(value), `not a number: ${line}`)
    const key = `${name}{${Object.keys(labels)
      .toSorted()
      .map((label) => `${label}="${labels[label]}"`)
      .join(',')}}`
    assert.ok(!samples.has(key), `told twice: ${line}`)
    samples.set(key, value)
    parsed.push({ name, labels, value })
  }
  return {
    types,
    samples,
    sum: (name, labels = {}) =>
      parsed
        .filter((one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value))
        .reduce((sum, { value }) => sum + value, 0),
  }
}
