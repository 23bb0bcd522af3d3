// T-103: configurations that went wrong in every way, each from its seed.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { ConfigError } from '../../src/config/config-error.ts'
import { load } from './given.ts'
import { property, type Random } from '../support/seeded.ts'

const example = readFileSync(join(import.meta.dirname, '../../config.example.yml'), 'utf8')

/** The example with some of what it only mentions. */
function uncommented(random: Random): string {
  return example.replaceAll(/^( *)#(?=[\w-]+:)/gm, (mark, indent: string) => (random.oneIn(4) ? indent : mark))
}

const texts = [
  [
    '',
    ' ',
    '~',
    'x',
    '\n',
    'a\r\nb',
    '\u001b[2J',
    '\u2028',
    '\0',
    '١',
    '-',
    ':',
    '::',
    '[',
    '(',
    '*',
    '**',
    '\\',
    '../..',
  ],
  ['1s', '-1s', '1', '1h1', '1e9h', '999999999999h', '5GiB', '-5GiB', '1e30', 'x'.repeat(10_000)],
  ['http://', 'https://a:b@c/?d#e', 'ftp://x'],
].flat()

const scalars: readonly unknown[] = [null, true, false, 0, -1, 0.5, Infinity, -Infinity, Number.NaN, 2 ** 53 + 1, 1e15]

const trees: readonly unknown[] = [
  [],
  {},
  [[]],
  [{}],
  { a: { a: { a: {} } } },
  ['x'],
  [null],
  { '': '' },
  { constructor: 1 },
]

const values: readonly unknown[] = [...scalars, ...trees, ...texts]

/** Replaces, removes, renames or adds something, somewhere in a tree. */
function mutateTree(random: Random, tree: unknown): unknown {
  if (random.oneIn(5) || typeof tree !== 'object' || tree === null) return random.pick(values)
  if (Array.isArray(tree)) return tree.map((entry: unknown) => (random.oneIn(2) ? mutateTree(random, entry) : entry))
  const entries = Object.entries(tree as Record<string, unknown>)
  if (entries.length === 0) return { x: random.pick(values) }
  const nth = random.int(entries.length)
  const [key, value] = entries[nth] ?? ['', undefined]
  switch (random.int(6)) {
    case 0:
      entries.splice(nth, 1)
      break
    case 1:
      entries[nth] = [
        random.pick(['', 'x', `${key}s`, key.toUpperCase(), '__proto__', 'constructor', '\n', '\u001b']),
        value,
      ]
      break
    case 2:
      entries.push([
        random.pick(['x', 'http', 'proxy', 'storage', 'upstreams', 'url', 'toString']),
        random.pick(values),
      ])
      break
    default:
      entries[nth] = [key, mutateTree(random, value)]
  }
  return Object.fromEntries(entries)
}

/** Cuts, doubles or overwrites some characters. */
function mutateText(random: Random, text: string): string {
  let mutated = text
  for (let times = 1 + random.int(4); times > 0; times--) {
    const at = random.int(mutated.length + 1)
    const length = random.int(20)
    const instead = random.pick([
      '',
      '',
      ':',
      '{',
      '[',
      '&a ',
      '*a',
      '\t',
      '\n',
      '"',
      '- ',
      '!!x ',
      '%',
      '\u0000',
      'x',
      '\u2028',
    ])
    const copy = random.oneIn(4) ? mutated.slice(at, at + length) : ''
    mutated = mutated.slice(0, at) + instead + copy + mutated.slice(at + (random.oneIn(2) ? length : 0))
  }
  return random.oneIn(20) ? mutated.slice(0, random.int(mutated.length)) : mutated
}

const seeds: readonly unknown[] = [
  { version: 0.1, storage: { inmemory: null }, http: { addr: ':0', headers: { 'X-A': ['b'] } } },
  {
    version: 0.1,
    log: { level: 'info', fields: { a: 'b' } },
    storage: {
      filesystem: { rootdirectory: '/data', maxthreads: 100 },
      cache: { blobdescriptor: 'redis' },
      delete: { enabled: true },
      maintenance: { uploadpurging: { enabled: true, age: '168h', interval: '24h' }, readonly: { enabled: false } },
    },
    redis: { addr: 'a:1', password: 'hush', db: 1, dialtimeout: '10ms', pool: { maxidle: 16 } },
    http: { addr: ':5000', secret: 'hush', relativeurls: true, draintimeout: '60s', prefix: '/a/' },
    validation: { manifests: { urls: { allow: ['^https://a'] }, indexes: { platforms: 'list', platformlist: [] } } },
    proxy: {
      upstreams: {
        'ghcr.io': { url: 'https://ghcr.io', username: 'me', password: 'hush', mirrors: ['https://m.example'] },
        other: { url: 'http://o.example', default: true, tags: [{ match: '^v\\d', freshness: '30d' }] },
      },
      hosted: ['local/**'],
      timeouts: { connect: '5s', firstbyte: '10s', idle: '15s' },
      fill: { connections: 1, minsize: '64MiB', retries: 3 },
      cache: { maxsize: '100GiB', ttl: '0s', pin: ['a/**'] },
    },
  },
]

function textOf(random: Random): string {
  if (random.oneIn(3)) return mutateText(random, uncommented(random))
  let tree = random.pick(seeds)
  for (let times = 1 + random.int(3); times > 0; times--) tree = mutateTree(random, tree)
  const text = stringify(tree) ?? ''
  return random.oneIn(4) ? mutateText(random, text) : text
}

const unprintable = /[\p{Cc}\u2028-\u202e]/u

property(
  'T-103, P10: a configuration is taken, or refused by one readable line without a secret',
  (random) => {
    const text = textOf(random)
    let message: string
    try {
      for (const warning of load(text).warnings) assert.doesNotMatch(warning, unprintable)
      return
    } catch (error) {
      assert.ok(error instanceof ConfigError, `${String(error)}\n${error instanceof Error ? error.stack : ''}\n${text}`)
      message = error.message
    }
    assert.ok(message.length > 5 && Buffer.byteLength(message) < 2000, `${message.length}: ${message.slice(0, 3000)}`)
    assert.doesNotMatch(message, unprintable)
    assert.doesNotMatch(message, /hush|\bat .*\.ts:|undefined|\[object/)
  },
  2000,
)
