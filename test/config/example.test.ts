// `config.example.yml` shows every key, and the defaults in it are the defaults.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { knownKeys } from '../../src/config/keys.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configSchema } from '../../src/config/schema.ts'
import { isTree, readYaml } from '../../src/config/tree.ts'
import { cwd } from './given.ts'

const file = resolve(import.meta.dirname, '../../config.example.yml')

/** `deepEqual` does not look into URLs in every version of Node. */
function plain(config: Config): unknown {
  return JSON.parse(JSON.stringify(config))
}

test('the example is the mirror that runs without a file', () => {
  const example = loadConfig({ path: file, env: {}, cwd })
  const builtIn = loadConfig({ env: {}, cwd })
  assert.deepEqual(plain(example.config), plain(builtIn.config))
  assert.deepEqual(example.config, builtIn.config)
  assert.deepEqual([example.warnings, builtIn.warnings], [[], []])
})

/** `#key:` and `#- key:` are keys without a default; `# words` are words. */
function withCommentedKeys(source: string): string {
  return source.replace(/^( *)#(?=(?:- )?[a-z0-9]+:)/gm, '$1')
}

function keysOf(value: unknown, prefix: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => keysOf(item, `${prefix}[]`))
  if (!isTree(value)) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const parent = prefix.replace(/^proxy\.upstreams$/, 'proxy.upstreams.*')
    const path = parent === prefix ? `${prefix}${prefix === '' ? '' : '.'}${key}` : parent
    return [path, ...keysOf(inner, path)]
  })
}

test('the example shows every key of the schema, and no other', () => {
  const result = readYaml(withCommentedKeys(readFileSync(file, 'utf8')))
  assert.ok('value' in result, 'problem' in result ? JSON.stringify(result.problem) : '')
  const free = /^(?:log\.fields|http\.headers|middleware\..*\.options|.*\.headers|.*\.claims)\./
  const shown = keysOf(result.value, '').filter((key) => !free.test(key) && !key.endsWith('.*'))
  assert.deepEqual([...new Set(shown)].toSorted(), [...new Set(knownKeys(configSchema))].toSorted())
})

test('a configuration cannot be changed', () => {
  const { config } = loadConfig({ env: {}, cwd })
  const mutable = (value: unknown): boolean =>
    typeof value === 'object' && value !== null && (!Object.isFrozen(value) || Object.values(value).some(mutable))
  assert.equal(mutable(config), false)
})
