// Taking away what dead processes have left.
import { PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import { recover } from './garbage/set-aside.ts'
import { sweptFolders } from './layout.ts'
import { namesIn } from './links.ts'

export interface SweepOptions {
  /** Files that were last written to before this go. */
  readonly olderThan: Date
}

export interface SweepReport {
  readonly files: number
  readonly bytes: number
}

/**
 * Removes old files from the folders of temporary ones, except those that are `open` here; and puts back what a killed
 * collection of garbage had set aside.
 */
export async function sweepTemporary(
  driver: StorageDriver,
  options: SweepOptions,
  open: ReadonlySet<DriverPath>,
): Promise<SweepReport> {
  await recover(driver, Date.now())
  let files = 0
  let bytes = 0
  for (const folder of sweptFolders) {
    for (const name of await namesIn(driver, folder)) {
      const path = `${folder}/${name}`
      if (open.has(path)) continue
      try {
        const { modified, size, kind } = await driver.stat(path)
        if (kind !== 'file' || modified >= options.olderThan) continue
        await driver.remove(path)
        files++
        bytes += size
      } catch (error) {
        if (!(error instanceof PathNotFoundError)) throw error // it was finished meanwhile
      }
    }
  }
  return { files, bytes }
}
