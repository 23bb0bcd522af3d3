// Folders of the filesystem driver: made on demand, and durable before anything in them counts.
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { makeFolder } from '../bytes/folder.ts'
import { codeOf, folderMode, syncFolder } from './file-io.ts'
import type { Owner } from './owner.ts'

/** Folders that are remembered to be durable; the oldest that is forgotten costs a sync. */
const maxDurable = 10_000

export class Folders {
  readonly #root: string
  readonly #owner: Owner
  /** Folders that exist, or soon will, and whose entry in their parent is not durable yet. */
  readonly #making = new Map<string, Promise<void>>()
  /** Folders whose entry was synced by this process: a dead one may have made a folder and not come further. */
  readonly #durable = new Set<string>()

  constructor(root: string, owner: Owner) {
    this.#root = root
    this.#owner = owner
  }

  /** Makes a folder and those above it; their entries are durable when this resolves. */
  async ensure(folder: string): Promise<void> {
    let making = this.#making.get(folder)
    if (making === undefined) {
      making = this.#make(folder).finally(() => this.#making.delete(folder))
      making.catch(() => {}) // `settled` and every caller of `ensure` see it
      this.#making.set(folder, making)
    }
    await making
  }

  /**
   * Waits until no call is still making this folder or one above it. A folder shows before it is durable: who puts
   * something into one that he did not make has to wait for whoever did.
   */
  async settled(folder: string): Promise<void> {
    if (this.#making.size === 0) return
    for (let path = folder; path.length >= this.#root.length; path = dirname(path)) {
      await this.#making.get(path)
      if (path === dirname(path)) return
    }
  }

  async #make(folder: string): Promise<void> {
    if (folder.length <= this.#root.length) {
      await makeFolder(folder, folderMode)
      this.#remember(folder)
      return
    }
    const parent = dirname(folder)
    try {
      if (!(await this.#mkdir(folder))) {
        await this.ensure(parent)
        await mkdir(folder, { mode: folderMode })
      }
      await this.#owner.give(folder)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
      if (this.#durable.has(folder)) return await this.settled(parent)
    }
    try {
      await syncFolder(parent)
    } catch (error) {
      this.#durable.delete(folder) // it was there before, maybe, and removed since
      throw error
    }
    await (this.#durable.has(parent) ? this.settled(parent) : this.ensure(parent))
    this.#remember(folder)
  }

  #remember(folder: string): void {
    const [oldest] = this.#durable
    if (this.#durable.size >= maxDurable && oldest !== undefined) this.#durable.delete(oldest)
    this.#durable.add(folder)
  }

  /** Whether the folder could be made; not so where its parent is missing. */
  async #mkdir(folder: string): Promise<boolean> {
    try {
      await mkdir(folder, { mode: folderMode })
      return true
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw error
    }
  }
}
