// What a collection of garbage leaves for those who must know that it runs, or that it ran.
import { PathNotFoundError, type StorageDriver } from '../../drivers/driver.ts'
import type { Collections } from '../../registry/usage.ts'
import { collectedPath, sweptFolder } from '../layout.ts'
import { namesIn } from '../links.ts'

/** To be called under a sign of life, before anything is moved, and when all is back or gone. No bytes: it takes no room. */
export async function markCollection(driver: StorageDriver): Promise<void> {
  await driver.write(collectedPath, new Uint8Array())
}

export async function findCollections(driver: StorageDriver): Promise<Collections> {
  // In this order: one that begins between the two is seen by its folder.
  const last = await lastOf(driver)
  return { last, isRunning: (await namesIn(driver, sweptFolder)).length > 0 }
}

async function lastOf(driver: StorageDriver): Promise<number | undefined> {
  try {
    return (await driver.stat(collectedPath)).modified.getTime()
  } catch (error) {
    if (error instanceof PathNotFoundError) return undefined
    throw error
  }
}
