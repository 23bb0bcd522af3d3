// Taking away what dead processes have left.
import { DriverError, PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import { isOfDead, temporaryPath } from '../drivers/temporary.ts'
import type { Logger } from '../telemetry/logger.ts'
import { findUseless } from './fills.ts'
import { recover } from './garbage/set-aside.ts'
import { sweptFolders } from './layout.ts'
import { namesIn } from './links.ts'

export interface SweepOptions {
  /** Files that were last written to longer ago than this go; in milliseconds, by the clock of the file system. */
  readonly age: number
  /** Bytes of partial blobs that are kept for the fills to come, however young they are; without it, all that are young. */
  readonly leftovers?: number | undefined
}

export interface SweepReport {
  readonly files: number
  readonly bytes: number
}

interface SweepRoom extends SweepOptions {
  /** Files that are open here: they stay. */
  readonly open: ReadonlySet<DriverPath>
  readonly logger: Logger
}

/**
 * Removes from the folders of temporary files what is old, what a process that is surely dead has left unfinished, and what
 * is left of blobs and of no use; puts back what a killed collection of garbage had set aside. What living processes write
 * stays. What cannot be looked at or removed is warned of, and the rest goes on.
 */
export async function sweepTemporary(driver: StorageDriver, room: SweepRoom): Promise<SweepReport> {
  const { age, leftovers = Infinity, open, logger } = room
  let now: number | undefined
  try {
    await recover(driver, Date.now())
  } catch (error) {
    logger.warn({ error }, 'what was set aside could not be put back')
  }
  const paths: DriverPath[] = []
  for (const folder of sweptFolders) paths.push(...(await filesIn(driver, folder, logger)))
  const useless = await findUseless(driver, { paths, open, limit: leftovers })
  let files = 0
  let bytes = 0
  for (const path of paths) {
    if (open.has(path)) continue
    try {
      const isNobodys = useless.has(path) || isOfDead(path)
      const before = isNobodys ? Infinity : (now ??= await clockOf(driver)) - age
      const size = await sizeIfOld(driver, path, before)
      if (size === undefined) continue
      await driver.remove(path)
      files++
      bytes += size
    } catch (error) {
      if (error instanceof PathNotFoundError) continue // it was finished meanwhile
      logger.warn({ path, error }, 'a temporary file could not be swept')
    }
  }
  return { files, bytes }
}

async function filesIn(driver: StorageDriver, folder: DriverPath, logger: Logger): Promise<readonly DriverPath[]> {
  try {
    return (await namesIn(driver, folder)).map((name) => `${folder}/${name}`)
  } catch (error) {
    logger.warn({ path: folder, error }, 'a folder of temporary files could not be read')
    return []
  }
}

/** Something else than a file, a symbolic link maybe, is nobody's, and as old as can be. */
async function sizeIfOld(driver: StorageDriver, path: DriverPath, before: number): Promise<number | undefined> {
  try {
    const { kind, modified, size } = await driver.stat(path)
    return kind === 'file' && modified.getTime() < before ? size : undefined
  } catch (error) {
    if (error instanceof DriverError && error.code === 'ENOTFILE') return 0
    throw error
  }
}

/** What time it is where files get their times: another machine's clock, maybe. Ours where nothing can be written. */
async function clockOf(driver: StorageDriver): Promise<number> {
  const path = temporaryPath()
  try {
    await driver.write(path, Buffer.from('now'))
    const { modified } = await driver.stat(path)
    await driver.remove(path)
    return modified.getTime()
  } catch {
    return Date.now()
  }
}
