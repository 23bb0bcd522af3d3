// The drivers that a suite runs on, each with a tree of its own.
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { temporaryFolder } from './real-parts.ts'

export interface DriverUnderTest extends AsyncDisposable {
  readonly driver: StorageDriver
}

export async function makeFilesystem(): Promise<DriverUnderTest> {
  const folder = await temporaryFolder()
  const driver = filesystemDriver({ rootDirectory: folder.path })
  return { driver, [Symbol.asyncDispose]: async () => await folder[Symbol.asyncDispose]() }
}

export async function makeInMemory(): Promise<DriverUnderTest> {
  return { driver: inMemoryDriver(), [Symbol.asyncDispose]: async () => {} }
}

export const allDrivers: readonly (readonly [name: string, make: () => Promise<DriverUnderTest>])[] = [
  ['filesystem', makeFilesystem],
  ['inmemory', makeInMemory],
]
