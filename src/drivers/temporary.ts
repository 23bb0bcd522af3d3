// Names for files that are not yet whole: whoever finds one can tell whether anybody will ever finish it.
import { randomUUID } from 'node:crypto'
import { temporaryFolder, type DriverPath } from './driver.ts'
import { isDead, owner } from './process-owner.ts'

/** A name that nobody has used. */
export function temporaryPath(): DriverPath {
  return `${temporaryFolder}/${owner}.${randomUUID()}`
}

/** Whether the process that made this name is surely dead. */
export function isOfDead(path: DriverPath): boolean {
  const [whose = ''] = path.slice(temporaryFolder.length + 1).split('.')
  return path.startsWith(`${temporaryFolder}/`) && isDead(whose)
}
