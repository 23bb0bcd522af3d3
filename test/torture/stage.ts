// A mirror between an origin and clients, each in a process of its own, with a folder for the mirror.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder, until, type Folder } from '../support/real-parts.ts'
import { lightPull, type LightAnswer, type LightPullOptions } from '../support/light-client.ts'
import type { Mirror, MirrorOptions } from '../support/outside/mirrors.ts'
import { Origin, type Image } from '../support/outside/origin.ts'
import type { Outcome, Result, RowId } from './rows.ts'
import type { Target } from './target.ts'

/** How much is done. */
export interface Scale {
  readonly isQuick: boolean
  readonly kills: number
  readonly aborts: number
  /** Of the blob that clients share, in bytes. */
  readonly shared: number
  readonly large: number
  /** For how long a dead upstream is asked for, in milliseconds. */
  readonly deadTime: number
  /** After which a client gives up, in milliseconds. */
  readonly patience: number
  /** Of the mirror towards its upstream, where the faults are; without it, as shipped. */
  readonly timeouts: string | undefined
}

export const accept: string = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

export interface Pulled extends LightAnswer {
  /** Status 200, whole, and the bytes that were asked for. */
  readonly isRight: boolean
  /** Status 200, whole, and other bytes. */
  readonly isWrong: boolean
}

/** What is found out about one target. */
export class Findings {
  readonly target: Target
  readonly scale: Scale
  readonly results: Map<RowId, Result> = new Map()
  readonly outcomes: Outcome[] = []
  answers = 0
  readonly wrong: string[] = []

  constructor(target: Target, scale: Scale) {
    this.target = target
    this.scale = scale
  }

  note(row: RowId, text: string, met?: boolean): void {
    this.results.set(row, { text, met })
    this.say(`${row}: ${text}${met === false ? ' (missed)' : ''}`)
  }

  say(text: string): void {
    process.stderr.write(`${this.target.id}: ${text}\n`)
  }

  /** Looks at an answer; `right` are the digests that it may have. */
  judge(url: string, answer: LightAnswer, right: readonly string[]): Pulled {
    const { status, complete, digest, size } = answer
    const isWhole = status === 200 && complete
    const isRight = isWhole && right.includes(digest)
    this.answers += 1
    if (isWhole && !isRight) this.wrong.push(`${new URL(url).pathname}: ${size} bytes`)
    return { ...answer, isRight, isWrong: isWhole && !isRight }
  }
}

export interface StageOptions {
  readonly credentials?: MirrorOptions['credentials']
  readonly freshness?: string | undefined
  readonly timeouts?: string | undefined
  /** Below the folder of the stage. */
  readonly root?: string | undefined
}

export class Stage implements AsyncDisposable {
  readonly origin: Origin
  readonly findings: Findings
  readonly root: string
  readonly #folder: Folder
  readonly #options: StageOptions
  #mirror: Mirror | undefined

  private constructor(findings: Findings, origin: Origin, folder: Folder, options: StageOptions) {
    this.findings = findings
    this.origin = origin
    this.root = `${folder.path}/${options.root ?? 'data'}`
    this.#folder = folder
    this.#options = options
  }

  /** Nothing of the mirror runs yet. */
  static async prepare(findings: Findings, options: StageOptions = {}): Promise<Stage> {
    return new Stage(findings, await Origin.start(), await temporaryFolder(), options)
  }

  static async open(findings: Findings, options?: StageOptions): Promise<Stage> {
    const stage = await Stage.prepare(findings, options)
    await stage.start()
    return stage
  }

  get mirror(): Mirror {
    if (this.#mirror === undefined) throw new Error('the mirror does not run')
    return this.#mirror
  }

  /** @throws AssertionError where it does not start */
  async start(): Promise<void> {
    const { origin, root } = this
    this.#mirror = await this.findings.target.start(this.#folder, { upstream: origin.url, ...this.#options, root })
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#mirror?.process.stop(signal)
    this.#mirror = undefined
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** `of` is what follows `/v2/`. */
  urlOf(of: string): string {
    return `${this.mirror.url}/v2/${of}`
  }

  /** Every answer is looked at. */
  async pull(of: string, right: readonly string[], options: LightPullOptions = {}): Promise<Pulled> {
    const url = this.urlOf(of)
    const { patience } = this.findings.scale
    const answer = await lightPull(url, { patience, headers: { accept }, ...options }).done
    return this.findings.judge(url, answer, right)
  }

  async pullBlob(repository: string, digest: string, options?: LightPullOptions): Promise<Pulled> {
    return await this.pull(`${repository}/blobs/${digest}`, [digest], options)
  }

  /** Manifest by tag, then by digest, then the blobs; resolves with whether all of it came. */
  async pullImage({ repository, tag, manifest, blobs }: Image): Promise<boolean> {
    const answers = [
      await this.pull(`${repository}/manifests/${tag}`, [manifest]),
      await this.pull(`${repository}/manifests/${manifest}`, [manifest]),
      ...(await Promise.all(blobs.map(async ({ digest }) => await this.pullBlob(repository, digest)))),
    ]
    return answers.every(({ isRight }) => isRight)
  }

  /** Where the bytes of a digest lie, for both targets. */
  fileOf(digest: string): string {
    const hex = digest.slice('sha256:'.length)
    return join(this.root, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data')
  }

  /** Resolves when all of an image lies in the store, which may be later than the last answer. @throws AssertionError */
  async stored({ repository, tag, manifest, blobs }: Image): Promise<void> {
    const folder = join(this.root, 'docker/registry/v2/repositories', repository)
    const files = [
      ...[manifest, ...blobs.map(({ digest }) => digest)].map((digest) => this.fileOf(digest)),
      ...blobs.map(({ digest }) => join(folder, '_layers', digest.replace(':', '/'), 'link')),
      join(folder, '_manifests/revisions', manifest.replace(':', '/'), 'link'),
      join(folder, '_manifests/tags', tag, 'current/link'),
    ]
    await until(`${repository} in the store`, async () => files.every((file) => existsSync(file)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL')
    await this.origin[Symbol.asyncDispose]()
    await this.#folder[Symbol.asyncDispose]()
  }
}
