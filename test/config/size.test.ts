import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/config-error.ts'
import { parseSize } from '../../src/config/size.ts'

const sizes: readonly (readonly [text: string, bytes: number])[] = [
  ['0', 0],
  ['1024', 1024],
  ['12B', 12],
  ['512k', 512_000],
  ['512kB', 512_000],
  ['512KB', 512_000],
  ['512KiB', 524_288],
  ['512Ki', 524_288],
  ['64MiB', 67_108_864],
  ['64mib', 67_108_864],
  ['10GB', 10_000_000_000],
  ['100GiB', 107_374_182_400],
  ['1.5GiB', 1_610_612_736],
  ['2 TiB', 2_199_023_255_552],
]

test('sizes are bytes, in units of 1000 or 1024', () => {
  for (const [text, bytes] of sizes) assert.equal(parseSize(text), bytes, text)
})

test('what is no size is refused', () => {
  const texts = ['', 'k', 'GiB', '-1', '1.k', '5iB', '5 i', '10 Gigs', '1e3', '9999PiB', '1,5GB']
  for (const text of texts) assert.throws(() => parseSize(text), ConfigError, text)
})
