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
const names = await targetNames()
const usage = `npm run fuzz -- [TARGET] [--seconds N] [--inputs N] [--seed S] [--input FILE]
targets: ${names.join(', ')}\n`
const options = {
  seconds: { type: 'string', default: '60' },
  inputs: { type: 'string' },
  seed: { type: 'string' },
  input: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const
const { values, positionals } = readArguments()

/** Ends the process where they are wrong: a number that is none would be no input at all, and no failure. */
function readArguments(): ReturnType<typeof parseArgs<{ options: typeof options; allowPositionals: true }>> {
  try {
    const read = parseArgs({ allowPositionals: true, options })
    const { seconds, inputs = '1', seed = '1', help } = read.values
    const [name, ...others] = read.positionals
    const isKnown = others.length === 0 && (name === undefined || names.includes(name))
    if (!help && isKnown && [seconds, inputs, seed].every((text) => /^\d+$/.test(text))) return read
    process.stderr.write(usage)
    process.exit(help ? 0 : 2)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`)
    process.exit(2)
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Resolves with the exit code. */
async function each(): Promise<number> {
  let worst = 0
  for (const target of names) {
    const child = spawn(process.execPath, [import.meta.filename, target, ...process.argv.slice(2)], {
      stdio: 'inherit',
    })
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
process.exitCode = name === undefined ? await each() : await one(name)
