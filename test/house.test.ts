// Keeps the plan of the house (docs/architecture.md): which room may import from which, and that no import goes round.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '../src')

/** Room → the rooms it may import. A room may always import from itself. */
const plan: Readonly<Record<string, readonly string[]>> = {
  oci: [],
  async: [],
  bytes: ['oci'],
  telemetry: [],
  config: ['oci', 'bytes'],
  drivers: ['bytes', 'async'],
  http: ['bytes', 'async', 'telemetry'],
  registry: ['oci', 'bytes'],
  schema1: ['oci'],
  cache: ['oci', 'async', 'telemetry'],
  storage: ['registry', 'drivers', 'cache', 'oci', 'bytes', 'async', 'telemetry'],
  ledger: ['registry', 'oci', 'bytes', 'async', 'telemetry'],
  middleware: ['registry', 'drivers', 'oci', 'bytes', 'telemetry'],
  upstream: ['registry', 'oci', 'bytes', 'async', 'telemetry'],
  auth: ['registry', 'schema1', 'oci', 'bytes', 'async', 'telemetry'],
  proxy: ['registry', 'cache', 'oci', 'bytes', 'async', 'telemetry'],
  events: ['registry', 'oci', 'bytes', 'async', 'telemetry'],
  api: ['registry', 'http', 'schema1', 'oci', 'bytes', 'async'],
  health: ['http', 'async', 'telemetry'],
  acme: ['http', 'bytes', 'telemetry'],
  metrics: ['http'],
  tracing: ['registry', 'http', 'telemetry'],
  'instruments.ts': ['config', 'drivers', 'http', 'metrics', 'registry', 'telemetry', 'tracing'],
  'debug-listener.ts': ['config', 'drivers', 'health', 'http', 'instruments.ts', 'storage', 'telemetry'],
  'pull-through.ts': [
    'cache',
    'config',
    'instruments.ts',
    'metrics',
    'proxy',
    'registry',
    'reload.ts',
    'storage',
    'telemetry',
    'upstream',
  ],
  'guard.ts': ['auth', 'config', 'proxy', 'registry', 'telemetry'],
  'reload.ts': ['config', 'proxy', 'upstream'],
  'stores.ts': ['cache', 'config', 'drivers', 'telemetry'],
  'maintenance.ts': ['cache', 'config', 'proxy', 'storage', 'stores.ts', 'telemetry'],
  'tls.ts': ['acme', 'config', 'http', 'telemetry', 'upstream'],
  'app.ts': ['*'],
  cli: ['app.ts', 'maintenance.ts', 'config', 'telemetry'],
  'main.ts': ['cli'],
}

/** Packages that only one room may know: the rest of the house is free to change its mind. */
const owners: Readonly<Record<string, readonly string[]>> = {
  pino: ['telemetry'],
  'pino-pretty': ['telemetry'],
  nodemailer: ['telemetry'],
  undici: ['upstream', 'events', 'acme'],
  'acme-client': ['acme'],
  keyv: ['cache'],
  '@keyv/redis': ['cache'],
  yaml: ['config'],
  'prom-client': ['metrics'],
  '@opentelemetry/api': ['tracing'],
  '@opentelemetry/sdk-trace': ['tracing'],
  '@opentelemetry/exporter-trace-otlp-http': ['tracing'],
  commander: ['cli'],
  'node:sqlite': ['ledger', 'events'],
  'lru-cache': ['api', 'auth', 'cache', 'http', 'proxy', 'storage'],
  bcrypt: ['auth'],
  jose: ['auth'],
  koffi: ['cli', 'http'],
  'p-limit': ['drivers', 'http', 'storage', 'proxy', 'upstream'],
}

function roomOf(file: string): string {
  return relative(root, file).split(sep)[0] ?? ''
}

async function sources(): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  return [...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^'"]*?from\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g)].map(
    (match) => match[1] ?? match[2] ?? '',
  )
}

test('every source file lies in a room of the plan', async () => {
  for (const file of await sources()) assert.ok(roomOf(file) in plan, `${relative(root, file)} is in no room`)
})

test('imports run down the plan of the house', async () => {
  const wrong: string[] = []
  for (const file of await sources()) {
    const room = roomOf(file)
    for (const specifier of importsOf(file).filter((name) => name.startsWith('.'))) {
      const target = roomOf(resolve(dirname(file), specifier))
      const allowed = plan[room] ?? []
      if (target !== room && !allowed.includes(target) && !allowed.includes('*')) {
        wrong.push(`${relative(root, file)} imports ${specifier}: ${room} may not know ${target}`)
      }
    }
  }
  assert.deepEqual(wrong, [])
})

test('a package is known to its own room only', async () => {
  const wrong: string[] = []
  for (const file of await sources()) {
    const outside = importsOf(file).filter((name) => !name.startsWith('.'))
    for (const specifier of outside.filter((name) => !name.startsWith('node:') || name in owners)) {
      const name = specifier.startsWith('@')
        ? specifier.split('/').slice(0, 2).join('/')
        : (specifier.split('/')[0] ?? '')
      if (!(owners[name] ?? []).includes(roomOf(file))) wrong.push(`${relative(root, file)} imports ${specifier}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('no import goes round', async () => {
  const edges = new Map<string, string[]>()
  for (const file of await sources()) {
    const targets = importsOf(file).filter((name) => name.startsWith('.'))
    edges.set(
      file,
      targets.map((specifier) => resolve(dirname(file), specifier)),
    )
  }
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) assert.fail([...path, file].map((name) => relative(root, name)).join(' → '))
    if (done.has(file)) return
    for (const target of edges.get(file) ?? []) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of edges.keys()) visit(file, [])
})

test('no room is a place for leftovers, no file re-exports a room, and imports name their file', async () => {
  for (const file of await sources()) {
    const name = relative(root, file)
    assert.doesNotMatch(name, /(?:^|[/\\])(?:utils?|helpers?|common|types|index)(?:\.ts|[/\\])/, name)
    assert.match(name, /^(?:[a-z0-9-]+\/)*[a-z0-9-]+\.ts$/, `${name} is not kebab-case`)
    for (const specifier of importsOf(file).filter((from) => from.startsWith('.')))
      assert.match(specifier, /\.ts$/, name)
  }
})
