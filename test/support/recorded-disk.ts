// A disk that may lose power (T-35). What this process does to the files below a folder is seen, call by call; afterwards
// the disk says what a power cut would have left of it at any moment: all that was synced, and of the rest anything.
//
// The model is as mean as POSIX allows. Bytes are safe once their file was synced, and a name (made, moved or removed) once
// the folder it is in was; a move is one step. Of what is not safe, each step is lost or kept on its own, in whatever order
// it came, and bytes may also come back in part, or as zeros where only the file's length was kept.
import fs, { constants } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import type { Random } from './seeded.ts'
import { replaceCalls } from './system-calls.ts'

/** `undefined` for a folder. */
export type Remains = ReadonlyMap<string, Buffer | undefined>

export interface RecordedDisk extends Disposable {
  /** How many steps were taken so far. */
  readonly steps: number
  /** What is left where the power goes after so many steps, by path below the root; without `random`, what was synced. */
  after(steps: number, random?: Random): Remains
  /** From so many steps on whatever would change something fails, as if this process were dead; `Infinity`: nothing does. */
  stopAfter(steps: number): void
  /** What it was about, for a person who has to find out why a test failed. */
  describe(steps: number): string
}

type Step =
  | NameStep
  | { readonly kind: 'bytes'; readonly node: number; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'empty'; readonly node: number }
  /** Made safe: all steps that were complete when it was begun. */
  | { readonly kind: 'sync'; readonly node: number; readonly before: number }

interface NameStep extends Entry {
  readonly kind: 'name'
  /** What it is the name of from now on; `undefined`: of nothing. */
  readonly node: number | undefined
  readonly isFolder: boolean
  /** Where it was before. */
  readonly from?: Entry
}

interface Entry {
  readonly folder: number
  readonly name: string
}

type Done = (error: Error | null, value?: number) => void

const rootNode = 0

/** Records from here on until it is disposed; the folder is empty, and nothing in it is synced for real. */
export function recordDisk(root: string): RecordedDisk {
  const steps: Step[] = []
  const log: string[] = []
  /** The tree as it is now: the names in each folder. Files have none. */
  const folders = new Map<number, Map<string, number>>([[rootNode, new Map()]])
  const nodes = new Map<number, number>() // by descriptor
  let nextNode = rootNode + 1

  const isOurs = (path: string): boolean => path === root || path.startsWith(root + sep)
  const entryOf = (path: string): Entry => ({ folder: find(dirname(path)) ?? -1, name: basename(path) })
  const find = (path: string): number | undefined =>
    path
      .slice(root.length)
      .split(sep)
      .filter((name) => name !== '')
      .reduce<number | undefined>((at, name) => folders.get(at ?? -1)?.get(name), rootNode)
  const take = (step: Step, text: string): void => {
    steps.push(step)
    log.push(text)
  }
  const name = (path: string, node: number | undefined, text: string, source?: string): void => {
    const { folder, name: last } = entryOf(path)
    const from = source === undefined ? {} : { from: entryOf(source) }
    const names = folders.get(folder)
    if (names === undefined) throw new Error(`the model does not know the folder of ${path}`)
    if (from.from !== undefined) folders.get(from.from.folder)?.delete(from.from.name)
    if (node === undefined) names.delete(last)
    else names.set(last, node)
    take(
      { kind: 'name', folder, name: last, node, isFolder: folders.has(node ?? -1), ...from },
      `${text} ${path.slice(root.length)}`,
    )
  }
  const make = (path: string, isFolder: boolean): void => {
    const node = nextNode++
    if (isFolder) folders.set(node, new Map())
    name(path, node, isFolder ? 'mkdir' : 'create')
  }
  const removeTree = (path: string): void => {
    for (const child of folders.get(find(path) ?? -1)?.keys() ?? []) removeTree(join(path, child))
    name(path, undefined, 'remove')
  }
  const pathOf = (node: number, folder = rootNode, path = ''): string | undefined => {
    if (node === folder) return path === '' ? '/' : path
    for (const [child, inner] of folders.get(folder) ?? []) {
      const found = pathOf(node, inner, `${path}/${child}`)
      if (found !== undefined) return found
    }
    return undefined
  }

  let limit = Infinity
  const checkAlive = (path: string): void => {
    if (isOurs(path) && steps.length >= limit) throw Object.assign(new Error('dead'), { code: 'EIO' })
  }
  const isDead = (done: (error: Error) => void): boolean => {
    if (steps.length < limit) return false
    setImmediate(done, Object.assign(new Error('dead'), { code: 'EIO' }))
    return true
  }
  const { open, write, ftruncate } = fs
  const real = { ...fs.promises }
  const seen = {
    open(path: string, flags: number, mode: number, done: Done) {
      if (isOurs(path) && (flags & constants.O_WRONLY) !== 0 && isDead(done)) return
      const isNew = isOurs(path) && (flags & constants.O_CREAT) !== 0 && find(path) === undefined
      open(path, flags, mode, (error, fd) => {
        nodes.delete(fd) // of a file that was closed
        if (error !== null || !isOurs(path)) return done(error, fd)
        if (isNew && find(path) === undefined) make(path, false)
        nodes.set(fd, find(path) ?? -1)
        done(null, fd)
      })
    },
    write(fd: number, from: Uint8Array, offset: number, length: number, at: number, done: Done) {
      if (nodes.has(fd) && isDead(done)) return
      write(fd, from, offset, length, at, (error, count) => {
        const node = nodes.get(fd)
        if (error === null && node !== undefined) {
          const bytes = Buffer.from(from.subarray(offset, offset + count))
          take({ kind: 'bytes', node, at, bytes }, `write ${pathOf(node)} ${at}+${count}`)
        }
        done(error, count)
      })
    },
    ftruncate(fd: number, done: (error: Error | null) => void) {
      if (nodes.has(fd) && isDead(done)) return
      ftruncate(fd, (error) => {
        const node = nodes.get(fd)
        if (error === null && node !== undefined) take({ kind: 'empty', node }, `empty ${pathOf(node)}`)
        done(error)
      })
    },
    fsync(fd: number, done: (error: Error | null) => void) {
      const node = nodes.get(fd)
      if (node !== undefined && isDead(done)) return
      const before = steps.length
      setImmediate(() => {
        if (node !== undefined) take({ kind: 'sync', node, before }, `fsync ${pathOf(node)}`)
        done(null)
      })
    },
  }
  const seenPromises = {
    async mkdir(path: string, options: fs.MakeDirectoryOptions & { recursive?: false }) {
      checkAlive(path)
      const made = await real.mkdir(path, options)
      if (isOurs(path) && find(path) === undefined) make(path, true)
      return made
    },
    async rename(from: string, to: string) {
      checkAlive(from)
      await real.rename(from, to)
      if (isOurs(from)) name(to, find(from), `rename ${from.slice(root.length)} to`, from)
    },
    async unlink(path: string) {
      checkAlive(path)
      await real.unlink(path)
      if (isOurs(path)) name(path, undefined, 'unlink')
    },
    async rmdir(path: string) {
      checkAlive(path)
      await real.rmdir(path)
      if (isOurs(path)) name(path, undefined, 'rmdir')
    },
    async rm(path: string, options: fs.RmOptions) {
      checkAlive(path)
      await real.rm(path, options)
      if (isOurs(path)) removeTree(path)
    },
  }
  const replaced = replaceCalls(seen, seenPromises)
  return {
    get steps() {
      return steps.length
    },
    after: (count, random) => remainsOf(steps.slice(0, count), random),
    stopAfter: (count) => {
      limit = count
    },
    describe: (count) => log.slice(0, count).join('\n'),
    [Symbol.dispose]: () => replaced[Symbol.dispose](),
  }
}

function remainsOf(steps: readonly Step[], random: Random | undefined): Remains {
  const safe = new Set<number>()
  for (const sync of steps) {
    if (sync.kind !== 'sync') continue
    steps.slice(0, sync.before).forEach((step, index) => {
      if ((step.kind === 'name' ? step.folder : step.node) === sync.node) safe.add(index)
    })
  }
  const odds = random?.pick([0, 1, 4, 7]) ?? 8 // of eight, that a step is lost
  const folders = new Map<number, Map<string, number>>()
  const files = new Map<number, Buffer>()
  const namesIn = (folder: number): Map<string, number> => {
    const names = folders.get(folder) ?? new Map<string, number>()
    folders.set(folder, names)
    return names
  }
  steps.forEach((step, index) => {
    const isSafe = safe.has(index)
    if (step.kind === 'sync' || (!isSafe && (random === undefined || random.int(8) < odds))) return
    if (step.kind === 'name') {
      const { folder, name, node, from } = step
      if (from !== undefined && namesIn(from.folder).get(from.name) === node) namesIn(from.folder).delete(from.name)
      if (node === undefined) namesIn(folder).delete(name)
      else namesIn(folder).set(name, node)
    } else if (step.kind === 'empty') files.set(step.node, Buffer.alloc(0))
    else {
      const { node, at, bytes } = step
      const old = files.get(node) ?? Buffer.alloc(0)
      const now = Buffer.alloc(Math.max(old.byteLength, at + bytes.byteLength))
      old.copy(now)
      const kept =
        isSafe || random === undefined
          ? bytes.byteLength
          : random.pick([bytes.byteLength, 0, random.int(bytes.byteLength + 1)])
      bytes.copy(now, at, 0, kept)
      files.set(node, now)
    }
  })
  const madeFolders = new Set(steps.map((step) => (step.kind === 'name' && step.isFolder ? step.node : undefined)))
  const remains = new Map<string, Buffer | undefined>()
  const walk = (folder: number, path: string): void => {
    for (const [name, node] of namesIn(folder)) {
      const inner = `${path}/${name}`
      const isFolder = madeFolders.has(node)
      remains.set(inner, isFolder ? undefined : (files.get(node) ?? Buffer.alloc(0)))
      if (isFolder) walk(node, inner)
    }
  }
  walk(rootNode, '')
  return remains
}

/** Puts what remained into an empty folder, for the next process to find. */
export async function restore(remains: Remains, root: string): Promise<void> {
  for (const [path, bytes] of remains) {
    if (bytes === undefined) await mkdir(join(root, path))
    else await writeFile(join(root, path), bytes)
  }
}
