// The origin, as the measures see it: a process of its own that is told what to do.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Asked, Command, Fault, Rule } from './faults.ts'
import { manifestOf, type Part } from './objects.ts'

export interface Image {
  readonly repository: string
  readonly tag: string
  readonly manifest: string
  readonly blobs: readonly Part[]
}

export class Origin implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #port: number
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #hole: ChildProcess | undefined
  #id = 0

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.#port = port
    child.on('message', (message: { id: number; value?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(message.id)
      this.#waiting.delete(message.id)
      if (message.error === undefined) waiting?.resolve(message.value)
      else waiting?.reject(new Error(`origin: ${message.error}`))
    })
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the origin has ended'))
    })
  }

  static async start(): Promise<Origin> {
    const child = fork(join(import.meta.dirname, 'origin-process.ts'))
    const [{ value }] = (await once(child, 'message')) as [{ value: number }]
    return new Origin(child, value)
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** @param seed what its bytes are made from, in hex; without it, none knows them before */
  async addBlob(repository: string, size: number, seed?: string): Promise<Part> {
    return { digest: (await this.#tell({ do: 'add-blob', repository, size, seed })) as string, size }
  }

  /** A blob that clients can unpack: an archive of one file with so many random bytes. */
  async addArchive(repository: string, name: string, size: number): Promise<Part> {
    return (await this.#tell({ do: 'add-archive', repository, name, size })) as Part
  }

  /** A blob with this in it. */
  async addText(repository: string, text: string): Promise<Part> {
    return { digest: (await this.#tell({ do: 'add-text', repository, text })) as string, size: Buffer.byteLength(text) }
  }

  async addDocument(repository: string, tag: string, text: string): Promise<string> {
    return (await this.#tell({ do: 'add-manifest', repository, tag, text })) as string
  }

  async addManifest(repository: string, tag: string | undefined, layers: readonly Part[]): Promise<string> {
    const [config = { digest: `sha256:${'0'.repeat(64)}`, size: 2 }] = layers
    const text = manifestOf(config, layers.slice(1))
    return (await this.#tell({ do: 'add-manifest', repository, tag, text })) as string
  }

  /** With a blob of each of these sizes; the first is its config. */
  async addImage(repository: string, tag: string, sizes: readonly number[]): Promise<Image> {
    const blobs = await Promise.all(sizes.map(async (size) => await this.addBlob(repository, size)))
    return { repository, tag, blobs, manifest: await this.addManifest(repository, tag, blobs) }
  }

  async addHugeManifest(repository: string, tag: string, size: number): Promise<string> {
    return (await this.#tell({ do: 'add-huge-manifest', repository, tag, size })) as string
  }

  /** From now on, instead of what was before. */
  async rules(...rules: readonly Rule[]): Promise<void> {
    await this.#tell({ do: 'rules', rules })
  }

  /** To everybody, whatever is asked for. */
  async fault(fault: Fault): Promise<void> {
    await this.rules({ path: '', fault })
  }

  /** Requests so far with this in their path. */
  async asked(path: string): Promise<readonly Asked[]> {
    return (await this.#tell({ do: 'asked', path })) as readonly Asked[]
  }

  async forget(): Promise<void> {
    await this.#tell({ do: 'forget' })
  }

  /** Lets what is held go on. */
  async release(): Promise<void> {
    await this.#tell({ do: 'release' })
  }

  /** Connections are refused from now on, and the ones there are end. */
  async down(): Promise<void> {
    await this.#tell({ do: 'down' })
  }

  async up(): Promise<void> {
    await this.#tell({ do: 'up' })
  }

  /** Nobody answers any more, not even a connection's first packet. Only Linux drops them so. */
  async blackHole(): Promise<void> {
    await this.down()
    const hole = fork(join(import.meta.dirname, 'black-hole.ts'), [String(this.#port)])
    this.#hole = hole
    await once(hole, 'message')
    hole.kill('SIGSTOP')
    // The kernel makes connections until the queue is full; from then on it drops.
    for (let tries = 0; tries < 50 && (await isAnswered(this.#port)); tries += 1);
  }

  /** All that came to the other host. */
  async foreign(): Promise<string> {
    return (await this.#tell({ do: 'foreign' })) as string
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#hole?.kill('SIGKILL')
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }

  async #tell(command: Command): Promise<unknown> {
    const id = ++this.#id
    const waiting = Promise.withResolvers<unknown>()
    this.#waiting.set(id, waiting)
    this.#child.send({ id, command }, (error) => {
      if (error !== null) waiting.reject(error)
    })
    return await waiting.promise
  }
}

async function isAnswered(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => {
    socket.destroy()
    resolve(false)
  }, 500)
  socket.on('error', () => {})
  socket.once('connect', () => {
    clearTimeout(timer)
    socket.unref() // it stays, and fills the queue
    resolve(true)
  })
  return await promise
}
