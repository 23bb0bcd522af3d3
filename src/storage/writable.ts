// Whether anything can be stored at all: told at start, rather than by the first client's failure.
import { randomUUID } from 'node:crypto'
import { DriverError, PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import { temporaryPath } from '../drivers/temporary.ts'
import type { Logger } from '../telemetry/logger.ts'
import { blobsRoot, repositoriesRoot } from './layout.ts'

/** What a person can do something about, by the code that the driver fails with. */
const sentences: Readonly<Record<string, string>> = {
  EACCES: 'nothing can be stored: this user may not write to the storage folder',
  EDQUOT: 'nothing can be stored: the quota of the storage folder is used up',
  ENOSPC: 'nothing can be stored: the file system of the storage folder is full',
  EPERM: 'nothing can be stored: this user may not write to the storage folder',
  EROFS: 'nothing can be stored: the file system of the storage folder is read-only',
  EXDEV: 'nothing can be stored: entrepot/ and docker/ in the storage folder must lie on one file system',
}

/**
 * Writes a small file, moves it to where blobs are, then to where links are, and removes it. What fails is logged, never
 * thrown.
 */
export async function checkWritable(driver: StorageDriver, logger: Logger): Promise<void> {
  const probe = temporaryPath()
  const name = `probe-${randomUUID()}`
  const place = `${blobsRoot}/${name}`
  const folder = `${repositoriesRoot}/_${name}` // no walk takes it for a repository, be it ours or distribution's
  try {
    await driver.write(probe, Buffer.from('x'))
    await driver.move(probe, place)
    if (await isThere(driver, repositoriesRoot)) {
      await driver.move(place, `${folder}/data`)
      await driver.remove(folder)
    } else await driver.remove(place)
  } catch (error) {
    const code = error instanceof DriverError ? error.code : ''
    logger.error({ error }, sentences[code] ?? 'nothing can be stored: a file could not be written and moved')
    for (const path of [probe, place, folder]) await driver.remove(path).catch(() => {}) // it is where it came to, if anywhere
  }
}

/** Where there is none it is not made: with blobs beside it, it is what is not mounted, and all would seem to be garbage. */
async function isThere(driver: StorageDriver, path: DriverPath): Promise<boolean> {
  try {
    await driver.stat(path)
    return true
  } catch (error) {
    if (error instanceof PathNotFoundError) return false
    if (error instanceof DriverError && error.code === 'ENOTFILE') return true // a link, to another disk maybe
    throw error
  }
}
