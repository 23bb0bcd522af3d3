// Where a measure takes place: an origin, clients, and all who are compared, each a process of its own.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuOf } from '../test/support/outside/proc.ts'
import { entrepot, type Mirror, type MirrorOptions, type MirrorProgram } from '../test/support/outside/mirrors.ts'
import { manifestOf } from '../test/support/outside/objects.ts'
import { Origin } from '../test/support/outside/origin.ts'
import { temporaryFolder, without, type Folder } from '../test/support/real-parts.ts'
import type { Target } from './client.ts'
import { Load } from './load.ts'
import { putFile, startNginx } from './nginx.ts'
import type { Growth } from './growth.ts'
import type { Column, Results } from './rows.ts'
import { makeTls, type TlsFiles } from './tls.ts'

export const kibibyte = 1024
export const mebibyte: number = 1024 * kibibyte

/** How much is done. */
export interface Scale {
  readonly isQuick: boolean
  /** Whether clients speak TLS with all who are compared; the origin does not. */
  readonly isSecure: boolean
  readonly runs: number
  /** How long requests are counted, in seconds. */
  readonly seconds: number
  /** Of a large blob, in bytes. */
  readonly large: number
  /** Of the blob that a thousand clients share. */
  readonly shared: number
  /** Objects that are stored when a server starts full. */
  readonly objects: number
  /** Where folders with them are kept. */
  readonly folder: string | undefined
}

/** What every measure is given. */
export interface Bench {
  readonly scale: Scale
  readonly results: Results
  readonly growth: Growth
  /** Peers that are here. */
  readonly peers: ReadonlyMap<Column, MirrorProgram>
  /** Arenas that are open: whoever is told to end closes them. */
  readonly arenas: Set<Arena>
  say(text: string): void
}

/** One of those who are compared. */
export interface Contestant {
  readonly column: Column
  readonly url: string
  readonly pid: number
}

export interface Blob extends Target {
  readonly digest: string
  readonly size: number
}

/** Why there is no yardstick, or `false`. */
export const noNginx: string | false = without('nginx')

export class Arena implements AsyncDisposable {
  readonly bench: Bench
  readonly origin: Origin
  readonly load: Load
  readonly folder: Folder
  /** Without them all speak plain HTTP. */
  readonly tls: TlsFiles | undefined
  readonly #resources: AsyncDisposableStack
  #started = 0

  private constructor(bench: Bench, parts: Pick<Arena, 'origin' | 'folder' | 'tls'>, resources: AsyncDisposableStack) {
    this.bench = bench
    this.origin = parts.origin
    this.folder = parts.folder
    this.tls = parts.tls
    this.load = resources.use(this.clients())
    this.#resources = resources
    bench.arenas.add(this)
  }

  static async open(bench: Bench): Promise<Arena> {
    await using opening = new AsyncDisposableStack()
    const folder = opening.use(await temporaryFolder())
    const tls = bench.scale.isSecure ? await makeTls(folder) : undefined
    const origin = opening.use(await Origin.start())
    return new Arena(bench, { origin, folder, tls }, opening.move())
  }

  /** In a process of their own, beside those of `load`. Whoever asks for them disposes of them. */
  clients(): Load {
    return new Load(this.tls?.authority)
  }

  /** A mirror that runs until the arena is gone, or until it is stopped. */
  async mirror(program: MirrorProgram, options: Partial<MirrorOptions> = {}): Promise<Mirror> {
    const name = `mirror-${++this.#started}`
    const root = join(this.folder.path, name)
    const log = `${root}.log`
    const { origin, tls } = this
    const mirror = await program.start(this.folder, { upstream: origin.url, root, tls, log, ...options })
    this.#resources.use(mirror.process)
    return mirror
  }

  /** entrepot and the peers. */
  get programs(): readonly (readonly [Column, MirrorProgram])[] {
    return [['entrepot', entrepot], ...this.bench.peers]
  }

  /** All of them, each with an empty folder. */
  async mirrors(options: Partial<MirrorOptions> = {}): Promise<Contestant[]> {
    const found: Contestant[] = []
    for (const [column, program] of this.programs) {
      const { url, process } = await this.mirror(program, options)
      found.push({ column, url, pid: process.pid })
    }
    return found
  }

  /** The origin itself, asked without anything between. */
  get direct(): Contestant {
    return { column: 'yardstick', url: this.origin.url, pid: 0 }
  }

  /** Nobody, where it is not on the machine. */
  async nginx(...targets: readonly Target[]): Promise<Contestant[]> {
    if (noNginx !== false) return []
    for (const { path, body } of targets) if (body !== undefined) await putFile(this.folder, path, body)
    const { url, process } = await startNginx(this.folder, this.tls)
    this.#resources.use(process)
    return [{ column: 'yardstick', url, pid: process.pid }]
  }

  async addBlob(size: number): Promise<Blob> {
    const seed = randomBytes(16).toString('hex')
    const { digest } = await this.origin.addBlob('app', size, seed)
    return { path: `/v2/app/blobs/${digest}`, body: { seed, size }, digest, size }
  }

  /** A manifest of a kilobyte, by digest and by tag. */
  async addManifest(): Promise<{ byDigest: Target; byTag: Target }> {
    const part = { digest: `sha256:${'0'.repeat(64)}`, size: 2 }
    const filler = kibibyte - manifestOf(part, [part, part, part]).length
    const text = manifestOf(part, [part, part, part], filler)
    const digest = await this.origin.addDocument('app', 'v1', text)
    const at = (reference: string): Target => ({ path: `/v2/app/manifests/${reference}`, body: { text } })
    return { byDigest: at(digest), byTag: at('v1') }
  }

  /** Each once, so that it is cached; resolves when the mirrors have nothing left to do. */
  async warm(contestants: readonly Contestant[], targets: readonly Target[]): Promise<void> {
    for (const { url, pid } of contestants) {
      await this.load.run({ url, targets, connections: 1, times: targets.length })
      await quiet(pid)
    }
  }

  /** A run of each of them, and again, as often as runs are wanted. */
  async interleave(contestants: readonly Contestant[], once: (contestant: Contestant) => Promise<void>): Promise<void> {
    for (let run = 0; run < this.bench.scale.runs; run += 1) {
      for (const contestant of contestants) {
        await once(contestant)
        await quiet(contestant.pid)
      }
    }
  }

  /** Bytes of an object that were handed to the network, as a multiple of its size. */
  async transfers({ digest, size }: Blob): Promise<number> {
    const asked = await this.origin.asked(digest)
    return asked.reduce((sum, { bytes }) => sum + bytes, 0) / size
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync()
    this.bench.arenas.delete(this)
  }
}

/** Waits until a process has stopped working, for half a minute at most: what one leaves undone must not slow the next. */
export async function quiet(pid: number): Promise<void> {
  if (pid === 0 || process.platform !== 'linux') return
  let before = await cpuOf(pid)
  let calm = 0
  for (let tries = 0; tries < 300 && calm < 2; tries += 1) {
    await sleep(100)
    const now = await cpuOf(pid)
    calm = now - before <= 0.01 ? calm + 1 : 0
    before = now
  }
}
