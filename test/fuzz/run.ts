// npm run fuzz -- [target] [--seconds N] [--inputs N] [--seed S] [--input FILE]: looks for inputs that a parser does not
// stand, and keeps what it finds. Without a target all of them, one after another.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { digestOf, hexOf } from '../../src/oci/digest.ts'
import { fuzz, type Failure } from './fuzzer.ts'
import { openTarget, targetNames } from './targets.ts'

const found = join(import.meta.dirname, '../../.fuzz')
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    inputs: { type: 'string' },
    seed: { type: 'string' },
    input: { type: 'string' },
  },
})

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Resolves with the exit code. */
async function each(names: readonly string[]): Promise<number> {
  let worst = 0
  for (const name of names) {
    const child = spawn(process.execPath, [import.meta.filename, name, ...process.argv.slice(2)], { stdio: 'inherit' })
    const [code] = (await once(child, 'close')) as [number | null]
    worst = Math.max(worst, code ?? 1)
  }
  return worst
}

async function one(name: string): Promise<number> {
  const { target, coverage } = await openTarget(name)
  using _ = coverage
  if (values.input !== undefined) {
    await target.check(await readFile(values.input, 'utf8'))
    say(`${name}: nothing is wrong with ${values.input}`)
    return 0
  }
  const seed = Number(values.seed ?? Date.now() % 2 ** 31)
  const [end, most] = [performance.now() + Number(values.seconds) * 1000, Number(values.inputs ?? Infinity)]
  const goesOn = (tried: number): boolean => tried < most && performance.now() < end
  const { tried, corpus, failure } = await fuzz(target, { seed, coverage, goesOn })
  say(`${name}: ${tried} inputs from --seed ${seed}, ${corpus.length} of them reached something new`)
  if (failure === undefined) return 0
  await keep(name, failure)
  return 1
}

async function keep(name: string, { input, error }: Failure): Promise<void> {
  await mkdir(found, { recursive: true })
  const file = join(found, `${name}-${hexOf(digestOf(input)).slice(0, 12)}`)
  await writeFile(file, input)
  say(`${error instanceof Error ? error.stack : String(error)}\n${JSON.stringify(input)}`)
  say(`again: npm run fuzz -- ${name} --input ${relative(process.cwd(), file)}`)
}

const [name] = positionals
const names = await targetNames()
if (name !== undefined && !names.includes(name)) {
  say(`no such target; there are ${names.join(', ')}`)
  process.exitCode = 2
} else process.exitCode = name === undefined ? await each(names) : await one(name)
