// Folders that bytes are to lie in.
import { mkdirSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a folder and those above it. Node's `recursive` never returns where there is a folder in which none can be made: in
 * /proc, or where the one that is mounted was deleted. What is there already is not looked at, and may be a file.
 */
export async function makeFolder(path: string, mode?: number): Promise<void> {
  try {
    await mkdir(path, mode)
  } catch (error) {
    if (!isMissing(error) || dirname(path) === path) return passOverThere(error)
    await makeFolder(dirname(path), mode)
    await mkdir(path, mode).catch(passOverThere)
  }
}

/** As `makeFolder`. */
export function makeFolderSync(path: string, mode?: number): void {
  try {
    mkdirSync(path, mode)
  } catch (error) {
    if (!isMissing(error) || dirname(path) === path) return passOverThere(error)
    makeFolderSync(dirname(path), mode)
    try {
      mkdirSync(path, mode)
    } catch (again) {
      passOverThere(again)
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function passOverThere(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
}
