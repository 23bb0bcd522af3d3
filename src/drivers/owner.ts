// Whose files are made. What root leaves in the storage of another user, who serves it, that user must be able to use.
import { lchown, stat } from 'node:fs/promises'
import { codeOf } from './file-io.ts'

interface Ids {
  readonly uid: number
  readonly gid: number
}

export class Owner {
  readonly #root: string
  #ids: Promise<Ids | undefined> | undefined

  constructor(root: string) {
    this.#root = root
  }

  /** Gives what was just made to whom the root folder belongs to, where this process is root's and the folder is not. */
  async give(path: string): Promise<void> {
    if (process.geteuid?.() !== 0) return
    this.#ids ??= this.#find()
    const ids = await this.#ids
    if (ids === undefined) return
    try {
      await lchown(path, ids.uid, ids.gid)
    } catch (error) {
      // A root without the right to give away, as in some containers: it remains root's, whose server that is.
      if (codeOf(error) !== 'EPERM' && codeOf(error) !== 'ENOENT') throw error
    }
  }

  /** `undefined` where it is root's, or not there yet and soon will be. */
  async #find(): Promise<Ids | undefined> {
    try {
      const { uid, gid } = await stat(this.#root)
      return uid === 0 ? undefined : { uid, gid }
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      this.#ids = undefined // asked again
      throw error
    }
  }
}
