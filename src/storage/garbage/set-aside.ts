// Taking files out of the tree in two steps: moved away, looked at once more, and only then removed. What a dead process
// has moved away and not removed is put back. The name of a file that is set aside says where it was: a list of them would
// take room, and a disk that has none left is the one that must be collected.
import { randomUUID } from 'node:crypto'
import {
  DriverError,
  PathNotFoundError,
  type DriverPath,
  type FileStat,
  type StorageDriver,
} from '../../drivers/driver.ts'
import { isLinkPath, sweptFolder } from '../layout.ts'
import { namesIn } from '../links.ts'

/** How long the files of a process that says nothing more are left to it, in milliseconds. */
export const patience: number = 5 * 60_000

/** Letters of a name: file systems take 255 bytes. */
const maxNameLength = 200

/** More than a link holds. */
const maxLinkSize = 4096

/** A batch of files of the tree. Leaving its scope puts back what was taken and not removed. */
export class SetAside implements AsyncDisposable {
  readonly #driver: StorageDriver
  readonly #lease: SetAside | undefined
  readonly folder: DriverPath = `${sweptFolder}/${randomUUID()}`
  readonly #taken = new Set<DriverPath>()
  #saidAt = 0
  #isOver = false

  private constructor(driver: StorageDriver, lease: SetAside | undefined) {
    this.#driver = driver
    this.#lease = lease
  }

  /** `lease`: a batch without files that says that its process lives; it is kept alive with this one. */
  static async begin(driver: StorageDriver, lease?: SetAside): Promise<SetAside> {
    const batch = new SetAside(driver, lease)
    try {
      await batch.#say()
      return batch
    } catch (error) {
      await batch[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Moves one away; what it was at that moment, or `undefined` where there was nothing. */
  async take(origin: DriverPath): Promise<FileStat | undefined> {
    await this.keepAlive() // whoever was thought dead has no folder to move it to, and nobody would put it back
    const place = placeOf(this.folder, origin)
    this.#taken.add(origin) // it may have moved though it failed
    try {
      await this.#driver.move(origin, place)
      return await this.#driver.stat(place)
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error
      this.#taken.delete(origin)
      return undefined
    }
  }

  async putBack(origin: DriverPath): Promise<void> {
    if (!this.#taken.has(origin)) return
    await putBack(this.#driver, placeOf(this.folder, origin), origin)
    this.#taken.delete(origin)
  }

  /** To be called now and then by whoever takes long, so that nobody thinks the process dead. */
  async keepAlive(): Promise<void> {
    await this.#lease?.keepAlive()
    if (Date.now() - this.#saidAt > patience / 5) await this.#say()
  }

  /** Removes what is still set aside. The sign of life goes first: without it, nobody puts anything back. */
  async remove(): Promise<void> {
    await this.#driver.remove(signOf(this.folder))
    this.#isOver = true
    try {
      await this.#driver.remove(this.folder)
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error // whoever cleans up after the dead was faster
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    try {
      // Backwards: what refers to others was taken first, and is put back last.
      for (const origin of [...this.#taken].toReversed()) await this.putBack(origin)
      await this.#driver.remove(signOf(this.folder)).catch(ignoreAbsence)
      await this.#driver.remove(this.folder)
    } catch {
      // The next run, or a server, puts back what is left.
    }
  }

  async #say(): Promise<void> {
    this.#saidAt = Date.now()
    await this.#driver.write(signOf(this.folder), new Uint8Array()) // no bytes: it takes no room
  }
}

export interface Recovery {
  /** Batches that were put back, or removed where their process had come that far. */
  readonly batches: number
  /** Batches that may still have a living process. */
  readonly running: number
}

/**
 * Puts back what dead processes have set aside. `own`: the batch of whoever asks.
 * @throws the first failure, when all other batches have been looked at
 */
export async function recover(driver: StorageDriver, now: number, own?: SetAside): Promise<Recovery> {
  let batches = 0
  let running = 0
  const failures: unknown[] = []
  for (const name of await namesIn(driver, sweptFolder)) {
    const folder = `${sweptFolder}/${name}`
    if (folder === own?.folder) continue
    try {
      if (await recoverBatch(driver, folder, now)) batches++
      else running++
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) failures.push(error) // else another process does the same
    }
  }
  if (failures.length > 0) throw failures[0]
  return { batches, running }
}

/** Whether its process is dead. */
async function recoverBatch(driver: StorageDriver, folder: DriverPath, now: number): Promise<boolean> {
  const heard = (await signed(driver, folder)) ?? (await driver.stat(folder)).modified.getTime()
  if (heard > now - patience) return false
  // In this order: what is found lay there under a sign, so that without one now, its removal has begun.
  const { files, folders } = await contentOf(driver, folder)
  const isLeft = (await signed(driver, folder)) !== undefined
  const origins = await oldOriginsOf(driver, folder)
  const isList = (path: DriverPath): boolean => path === signOf(folder) || path === oldListOf(folder)
  const found = files.filter((path) => !isList(path))
  if (isLeft) {
    // Blobs before manifests before tags: so their paths are in order.
    const known = found.map((path) => [originOf(folder, path, origins), path] as const)
    for (const [origin, path] of known.toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1))) {
      if (origin !== undefined) await putBack(driver, path, origin)
    }
  }
  for (const path of [...files.filter(isList), ...found]) await driver.remove(path).catch(ignoreAbsence)
  try {
    for (const path of [...folders, folder]) await driver.remove(path, { ifEmpty: true })
    return true
  } catch (error) {
    if (error instanceof DriverError && error.code === 'ENOTEMPTY') return false // its process was only slow
    throw error
  }
}

/** Everything below a folder, inner folders before those that they are in. */
async function contentOf(
  driver: StorageDriver,
  folder: DriverPath,
): Promise<{ readonly files: readonly DriverPath[]; readonly folders: readonly DriverPath[] }> {
  const files: DriverPath[] = []
  const folders: DriverPath[] = []
  for (const name of await driver.list(folder)) {
    const path = `${folder}/${name}`
    if ((await driver.stat(path)).kind === 'file') {
      files.push(path)
      continue
    }
    const inner = await contentOf(driver, path)
    for (const file of inner.files) files.push(file)
    for (const one of [...inner.folders, path]) folders.push(one)
  }
  return { files, folders }
}

/**
 * What has come to its place meanwhile stays, and the older file goes with its batch. A link is written anew: another
 * process may be writing it just now, for a client who is told that it is here, and it must not be an old one then.
 */
async function putBack(driver: StorageDriver, from: DriverPath, origin: DriverPath): Promise<void> {
  try {
    if ((await modifiedOf(driver, origin)) !== undefined) return
    if (isLinkPath(origin) && (await isWrittenAnew(driver, from, origin))) return
    await driver.move(from, origin)
  } catch (error) {
    ignoreAbsence(error) // another process does the same
  }
}

/** Not so where there is no room for it. */
async function isWrittenAnew(driver: StorageDriver, from: DriverPath, origin: DriverPath): Promise<boolean> {
  try {
    await driver.write(origin, await driver.read(from, maxLinkSize))
    return true
  } catch (error) {
    if (error instanceof DriverError) return false
    throw error
  }
}

/** When its process said something last. */
async function signed(driver: StorageDriver, folder: DriverPath): Promise<number | undefined> {
  return (await modifiedOf(driver, signOf(folder))) ?? (await modifiedOf(driver, oldListOf(folder)))
}

async function modifiedOf(driver: StorageDriver, path: DriverPath): Promise<number | undefined> {
  try {
    return (await driver.stat(path)).modified.getTime()
  } catch (error) {
    if (error instanceof PathNotFoundError) return undefined
    throw error
  }
}

function ignoreAbsence(error: unknown): void {
  if (!(error instanceof PathNotFoundError)) throw error
}

function signOf(folder: DriverPath): DriverPath {
  return `${folder}/alive`
}

/** The path is in the name, `/` being `_-` and `_` being `__`; a long one in names of folders too. */
function placeOf(folder: DriverPath, origin: DriverPath): DriverPath {
  const text = origin.slice(1).replaceAll(/[_/]/g, (letter) => (letter === '/' ? '_-' : '__'))
  const names: string[] = []
  for (let at = 0; at < text.length; at += maxNameLength) names.push(text.slice(at, at + maxNameLength))
  return [folder, ...names].join('/')
}

/** `undefined` where it is nothing that was set aside. */
function originOf(folder: DriverPath, path: DriverPath, origins: readonly DriverPath[]): DriverPath | undefined {
  const text = path.slice(folder.length + 1).replaceAll('/', '')
  if (/^\d+$/.test(text)) return origins[Number(text)]
  const origin = `/${text.replaceAll(/_[_-]/g, (pair) => (pair === '_-' ? '/' : '_'))}`
  return placeOf(folder, origin) === path ? origin : undefined
}

// Until 2026 the files of a batch were numbered, and a list said where each had been.
const maxOldList = 16 * 1024 * 1024

function oldListOf(folder: DriverPath): DriverPath {
  return `${folder}/origins`
}

async function oldOriginsOf(driver: StorageDriver, folder: DriverPath): Promise<readonly DriverPath[]> {
  try {
    return (await driver.read(oldListOf(folder), maxOldList)).toString().split('\n')
  } catch (error) {
    ignoreAbsence(error)
    return []
  }
}
