// Who is here to be compared with: Debian's docker-registry, and on request what Go builds from source.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { distribution, dockerRegistry, type MirrorProgram } from '../test/support/outside/mirrors.ts'
import { noNginx } from './arena.ts'
import { nginxName } from './nginx.ts'
import type { Column } from './rows.ts'

export interface Peers {
  readonly programs: ReadonlyMap<Column, MirrorProgram>
  /** What their columns are called. */
  readonly names: Readonly<Partial<Record<Column, string>>>
  /** Who is not here, and why. */
  readonly missing: readonly string[]
}

/** @param folder of programs that are built from source; where they are not in it yet, they are built into it */
export async function findPeers(folder: string | undefined): Promise<Peers> {
  const programs = new Map<Column, MirrorProgram>()
  const names: Partial<Record<Column, string>> = { entrepot: 'entrepot' }
  const missing: string[] = []
  const add = async (column: Column, program: MirrorProgram): Promise<void> => {
    if (program.missing === false) {
      programs.set(column, program)
      names[column] = await program.name()
    } else missing.push(`${column} is ${program.missing}`)
  }
  await add('docker-registry', dockerRegistry)
  if (folder === undefined) missing.push('distribution 3 and zot are not asked for (`--peers`)')
  else {
    const program = join(resolve(folder), 'registry')
    await add(
      'distribution',
      distribution(program, await built(program, 'github.com/distribution/distribution/v3/cmd/registry')),
    )
    missing.push('zot is not driven by this program')
  }
  if (noNginx === false) names.yardstick = await nginxName()
  else missing.push(`nginx is ${noNginx}`)
  return { programs, names, missing }
}

/** Why a program cannot be had, or `false`. */
async function built(program: string, path: string): Promise<string | false> {
  if (existsSync(program)) return false
  const folder = resolve(program, '..')
  await mkdir(folder, { recursive: true })
  process.stderr.write(`building ${path} …\n`)
  try {
    const env = { ...process.env, GOBIN: folder }
    await promisify(execFile)('go', ['install', `${path}@latest`], { env, cwd: folder, timeout: 900_000 })
    return false
  } catch (error) {
    return `not built here: ${String(error).split('\n').slice(0, 3).join(' ')}`
  }
}
