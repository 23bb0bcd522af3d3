// Whether storage works now: a small file is written, read again and removed, and a tag is looked for as for a client.
import type { StorageDriver } from '../drivers/driver.ts'
import { temporaryPath } from '../drivers/temporary.ts'
import { isAbsence } from '../oci/error.ts'
import { parseRepositoryName, parseTag } from '../oci/reference.ts'
import type { Registry } from '../registry/registry.ts'

/** Nobody pushes there, and where somebody does it is found, which is as good. */
const repository = parseRepositoryName('entrepot/readiness')
const tag = parseTag('probe')

/** The file lies beside the tree, where what a dead process leaves is swept. @throws what storage fails with */
export async function probeStorage(
  driver: StorageDriver,
  registry: Registry,
  { isReadOnly, signal }: { readonly isReadOnly: boolean; readonly signal: AbortSignal },
): Promise<void> {
  if (!isReadOnly) await probeFile(driver)
  try {
    await registry.repository(repository).tags.resolve(tag, { signal })
  } catch (error) {
    if (!isAbsence(error)) throw error
  }
}

async function probeFile(driver: StorageDriver): Promise<void> {
  const path = temporaryPath()
  const bytes = Buffer.from(path)
  await driver.write(path, bytes)
  try {
    const read = await driver.read(path, bytes.length)
    if (!read.equals(bytes)) throw new Error('storage gave back other bytes than were written')
  } finally {
    await driver.remove(path)
  }
}
