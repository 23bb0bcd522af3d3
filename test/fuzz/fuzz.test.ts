// The parsers, a few thousand inputs each; `npm run fuzz` goes on for as long as it is let.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { checkout, startProcess } from '../support/real-parts.ts'
import { Coverage } from './coverage.ts'
import { fuzz, type Target } from './fuzzer.ts'
import { targetNames } from './targets.ts'

/** Of a fixed seed: the same each time. */
const inputs: Readonly<Record<string, number>> = { config: 300, token: 1000 }
const many = 5000

for (const name of await targetNames()) {
  test(`${name}: nothing that is read does more than its errors say, takes long, or is read in two ways`, async () => {
    const args = ['--inputs', String(inputs[name] ?? many), '--seed', '1', '--seconds', '600']
    await using running = await startProcess(process.execPath, ['test/fuzz/run.ts', name, ...args], { cwd: checkout })
    assert.equal(await running.ended(), 0, running.output())
    const [, reached = '0'] = /(\d+) of them reached something new/.exec(running.output()) ?? []
    assert.ok(Number(reached) >= 2, running.output())
  })
}

test('led by coverage it finds a fault that chance alone does not', async () => {
  const file = join(import.meta.dirname, 'planted.ts')
  using coverage = await Coverage.open((url) => url === pathToFileURL(file).href)
  const { target } = (await import(file)) as { target: Target }
  const goesOn = (tried: number): boolean => tried < 50_000
  const led = await fuzz(target, { seed: 1, coverage, goesOn })
  assert.match(String(led.failure?.error), /found/)
  assert.equal(led.failure?.input.slice(0, 4), '#q7}')
  const { tried, failure } = await fuzz(target, { seed: 1, coverage: undefined, goesOn })
  assert.deepEqual([failure, tried >= 50_000], [undefined, true])
})

test('an input that takes too many steps is a failure', async () => {
  const file = join(import.meta.dirname, 'planted-slow.ts')
  using coverage = await Coverage.open((url) => url === pathToFileURL(file).href)
  const { target } = (await import(file)) as { target: Target }
  const { failure } = await fuzz(target, { seed: 1, coverage, goesOn: (tried) => tried < 4000 })
  assert.match(String(failure?.error), /^Error: \d+ steps$/)
})

test('arguments that say nothing are refused: no input at all would find nothing', () => {
  const run = join(import.meta.dirname, 'run.ts')
  for (const wrong of [['nowhere'], ['--seconds', 'x'], ['--inputs', '-1'], ['--sedd', '1'], ['link', 'range']]) {
    const { status, stderr } = spawnSync(process.execPath, [run, ...wrong], { encoding: 'utf8' })
    assert.equal(status, 2, wrong.join(' '))
    assert.match(stderr, /npm run fuzz -- \[TARGET\]/)
    assert.doesNotMatch(stderr, /\n\s+at /, stderr)
  }
})
