// Configurations: src/config.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../../../src/config/config-error.ts'
import { load, minimal } from '../../config/given.ts'
import type { Target } from '../fuzzer.ts'

const example = readFileSync(join(import.meta.dirname, '../../../config.example.yml'), 'utf8')
const uncommented = example.replaceAll(/^( *)#(?=[\w-]+:)/gm, '$1')
const sections = uncommented.split(/\n(?=\w)/).map((section) => section.replace(/ *#.*$/gm, '').trim())
const unprintable = /[\p{Cc}\u2028-\u202e]/u

export const target: Target = {
  seeds: [
    minimal,
    `${minimal}${'long'.repeat(900)}: {}\n`,
    ...sections.map((section) => `${minimal}${section}\n`).filter((text) => text.length < 2000),
  ],
  words: [
    ': ',
    '\n  ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    '&a ',
    '*a',
    '<<: ',
    '!!x ',
    '"',
    "'",
    '|',
    '5m',
    '1GiB',
    'true',
    'null',
    'hush',
  ],
  check(input) {
    let said: readonly string[]
    try {
      said = load(input).warnings
    } catch (error) {
      assert.ok(error instanceof ConfigError, error instanceof Error ? error.stack : String(error))
      said = [error.message]
    }
    for (const line of said) {
      assert.doesNotMatch(line, unprintable)
      assert.ok(line.length > 5 && line.length < 2000, `${line.length} characters`)
      assert.doesNotMatch(line, /\bat .*\.ts:|undefined|\[object/)
    }
  },
}
