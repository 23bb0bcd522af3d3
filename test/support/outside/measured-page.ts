// What a page of measured figures consists of: tables, the machine, and prose around them that a new run leaves alone.
import { statfsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { arch, cpus, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { checkout } from '../real-parts.ts'

export function table(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  return [heads, heads.map(() => '---'), ...lines].map(line).join('\n')
}

function line(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

/** By what Linux calls them: statfs(2). Where it is memory, nothing waits for a disk. */
const fileSystems: Readonly<Record<number, string>> = {
  0x01021994: 'tmpfs',
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x794c7630: 'overlayfs',
}

/** What was measured where, in one sentence; `programs` have their versions in their names. */
export function machine(command: string, programs: readonly string[]): string {
  const memory = `${(totalmem() / 1024 ** 3).toFixed(0)} GiB of memory`
  const [{ model } = { model: '' }] = cpus()
  const cores = `${cpus().length} cores (${[arch(), model.trim()].filter((word) => word !== '').join(', ')})`
  const disk = `folders on ${fileSystems[statfsSync(tmpdir()).type] ?? 'a file system of another kind'}`
  const versions = [`node ${process.version.slice(1)}`, ...programs].join(', ')
  const date = new Date().toISOString().slice(0, 10)
  return `Measured on ${date} by \`${command}\`: ${cores}, ${memory}, ${disk}, ${process.platform} ${release()}, ${versions}.`
}

/** Puts `text` between two markers of a page of `docs`, which have this in them. @throws Error where it has none */
export async function writeMeasured(page: string, text: string, mark = 'measured'): Promise<void> {
  const file = join(checkout, 'docs', page)
  await writeFile(file, withMeasured(await readFile(file, 'utf8'), text, mark))
}

/** @throws Error where the page has no such markers */
export function withMeasured(page: string, text: string, mark = 'measured'): string {
  const marker = `<!-- ${mark} -->`
  const begin = page.indexOf(marker)
  const end = page.indexOf(`<!-- /${mark} -->`)
  if (begin < 0 || end < begin) throw new Error('the page has no markers')
  return `${page.slice(0, begin + marker.length)}\n\n${text}\n\n${page.slice(end)}`
}
