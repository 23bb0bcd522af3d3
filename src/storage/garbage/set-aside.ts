// Taking files out of the tree in two steps: moved away, looked at once more, and only then removed. What a dead process
// has moved away and not removed is put back.
import { randomUUID } from 'node:crypto'
import { PathNotFoundError, type DriverPath, type FileStat, type StorageDriver } from '../../drivers/driver.ts'
import { sweptFolder } from '../layout.ts'
import { namesIn } from '../links.ts'

/** How long the files of a process that says nothing more are left to it, in milliseconds. */
export const patience: number = 5 * 60_000

const maxOrigins = 16 * 1024 * 1024

/** A batch of files of the tree. Leaving its scope puts back what was taken and not removed. */
export class SetAside implements AsyncDisposable {
  readonly #driver: StorageDriver
  readonly #origins: readonly DriverPath[]
  readonly #folder: DriverPath
  readonly #taken = new Set<number>()
  #saidAt = Date.now()
  #isOver = false

  private constructor(driver: StorageDriver, origins: readonly DriverPath[], folder: DriverPath) {
    this.#driver = driver
    this.#origins = origins
    this.#folder = folder
  }

  /** Takes nothing yet, but notes where everything is. */
  static async begin(driver: StorageDriver, origins: readonly DriverPath[]): Promise<SetAside> {
    const batch = new SetAside(driver, origins, `${sweptFolder}/${randomUUID()}`)
    await batch.#say()
    return batch
  }

  /** Moves one away; what it was at that moment, or `undefined` where there was nothing. */
  async take(index: number): Promise<FileStat | undefined> {
    const origin = this.#origins[index]
    if (origin === undefined) throw new Error(`there are ${this.#origins.length} files in this batch, not ${index}`)
    const place = `${this.#folder}/${index}`
    this.#taken.add(index) // it may have moved though it failed
    try {
      await this.#driver.move(origin, place)
      return await this.#driver.stat(place)
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error
      this.#taken.delete(index)
      return undefined
    }
  }

  async putBack(index: number): Promise<void> {
    const origin = this.#origins[index]
    if (origin === undefined || !this.#taken.has(index)) return
    await putBack(this.#driver, `${this.#folder}/${index}`, origin)
    this.#taken.delete(index)
  }

  /** To be called now and then by whoever takes long, so that nobody thinks the process dead. */
  async keepAlive(): Promise<void> {
    if (Date.now() - this.#saidAt > patience / 5) await this.#say()
  }

  /** Removes what is still set aside. The list goes first: without it, nobody puts anything back. */
  async remove(): Promise<void> {
    await this.#driver.remove(originsPath(this.#folder))
    this.#isOver = true
    try {
      await this.#driver.remove(this.#folder)
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error // whoever cleans up after the dead was faster
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    try {
      // Backwards: what refers to others was taken first, and is put back last.
      for (const index of [...this.#taken].toSorted((a, b) => b - a)) await this.putBack(index)
      await this.#driver.remove(originsPath(this.#folder))
      await this.#driver.remove(this.#folder)
    } catch {
      // The next run, or a server, puts back what is left.
    }
  }

  async #say(): Promise<void> {
    await this.#driver.write(originsPath(this.#folder), Buffer.from(this.#origins.join('\n')))
    this.#saidAt = Date.now()
  }
}

export interface Recovery {
  /** Batches that were put back, or removed where their process had come that far. */
  readonly batches: number
  /** Batches that may still have a living process. */
  readonly running: number
}

/** Puts back what dead processes have set aside. */
export async function recover(driver: StorageDriver, now: number): Promise<Recovery> {
  let batches = 0
  let running = 0
  for (const name of await namesIn(driver, sweptFolder)) {
    const folder = `${sweptFolder}/${name}`
    try {
      const origins = await originsOf(driver, folder)
      if (origins !== undefined && origins.modified > now - patience) {
        running++
        continue
      }
      for (const entry of (await driver.list(folder)).toReversed()) {
        const origin = /^\d+$/.test(entry) ? origins?.paths[Number(entry)] : undefined
        if (origin !== undefined) await putBack(driver, `${folder}/${entry}`, origin)
      }
      if (origins !== undefined) await driver.remove(originsPath(folder))
      await driver.remove(folder)
      batches++
    } catch (error) {
      if (!(error instanceof PathNotFoundError)) throw error // another process does the same
    }
  }
  return { batches, running }
}

async function originsOf(
  driver: StorageDriver,
  folder: DriverPath,
): Promise<{ readonly paths: readonly DriverPath[]; readonly modified: number } | undefined> {
  const path = originsPath(folder)
  try {
    const { modified } = await driver.stat(path)
    const paths = (await driver.read(path, maxOrigins)).toString().split('\n')
    return { paths, modified: modified.getTime() }
  } catch (error) {
    if (error instanceof PathNotFoundError) return undefined // its removal had begun
    throw error
  }
}

/** What has come to its place meanwhile stays, and the older file goes with its batch. */
async function putBack(driver: StorageDriver, from: DriverPath, origin: DriverPath): Promise<void> {
  try {
    await driver.stat(origin)
  } catch (error) {
    if (!(error instanceof PathNotFoundError)) throw error
    await driver.move(from, origin).catch((failure: unknown) => {
      if (!(failure instanceof PathNotFoundError)) throw failure
    })
  }
}

function originsPath(folder: DriverPath): DriverPath {
  return `${folder}/origins`
}
