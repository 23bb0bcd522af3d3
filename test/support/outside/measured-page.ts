// What a page of measured figures consists of: tables, the machine, and prose around them that a new run leaves alone.
import { readFile, writeFile } from 'node:fs/promises'
import { arch, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { checkout } from '../real-parts.ts'

export function table(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  return [heads, heads.map(() => '---'), ...lines].map(line).join('\n')
}

function line(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

/** What was measured where, in one sentence; `programs` have their versions in their names. */
export function machine(command: string, programs: readonly string[]): string {
  const memory = `${(totalmem() / 1024 ** 3).toFixed(0)} GiB of memory`
  const [{ model } = { model: '' }] = cpus()
  const cores = `${cpus().length} cores (${[arch(), model.trim()].filter((word) => word !== '').join(', ')})`
  const versions = [`node ${process.version.slice(1)}`, ...programs].join(', ')
  const date = new Date().toISOString().slice(0, 10)
  return `Measured on ${date} by \`${command}\`: ${cores}, ${memory}, ${process.platform} ${release()}, ${versions}.`
}

const markers = ['<!-- measured -->', '<!-- /measured -->'] as const

/** Puts `text` between the markers of a page of `docs`. @throws Error where it has none */
export async function writeMeasured(page: string, text: string): Promise<void> {
  const file = join(checkout, 'docs', page)
  await writeFile(file, withMeasured(await readFile(file, 'utf8'), text))
}

/** @throws Error where the page has no markers */
export function withMeasured(page: string, text: string): string {
  const [begin, end] = markers.map((marker) => page.indexOf(marker))
  if (begin === undefined || end === undefined || begin < 0 || end < begin) throw new Error('the page has no markers')
  return `${page.slice(0, begin + markers[0].length)}\n\n${text}\n\n${page.slice(end)}`
}
