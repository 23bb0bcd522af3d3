// The targets by name, each loaded only after its coverage is measured.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Coverage } from './coverage.ts'
import type { Target } from './fuzzer.ts'

const folder = join(import.meta.dirname, 'targets')
const sources = pathToFileURL(join(import.meta.dirname, '../../src')).href

export async function targetNames(): Promise<string[]> {
  return (await readdir(folder)).map((file) => file.replace(/\.ts$/, '')).toSorted()
}

/** Only what is loaded for the first time in this process is measured: a process for each target. */
export async function openTarget(name: string): Promise<{ readonly target: Target; readonly coverage: Coverage }> {
  const coverage = await Coverage.open((url) => url.startsWith(sources))
  const { target } = (await import(join(folder, `${name}.ts`))) as { target: Target }
  return { target, coverage }
}
