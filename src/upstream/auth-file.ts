// Credentials from a file of docker's or podman's, and from the helper programs that it names.
import { open, type FileHandle } from 'node:fs/promises'
import { Coalescer } from '../async/coalesce.ts'
import { collect } from '../bytes/stream.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { Logger } from '../telemetry/logger.ts'
import { CredentialHelper, dockerHelperCommand } from './credential-helper.ts'
import { anonymous, CredentialsError, type Credentials, type CredentialSource } from './credentials.ts'
import { findEntry, helperServer, parseDockerConfig, type DockerConfig } from './docker-config.ts'

export interface AuthFileOptions {
  readonly path: string
  /** The registry, with its port where that is not the scheme's own. */
  readonly host: string
  readonly logger: Logger
}

const maxFile = 1024 * 1024
/** How long a helper's answer is remembered, in milliseconds: rotated secrets take effect within this time. */
const helperLifetime = 5 * 60_000

interface LoadedFile {
  /** Modification time, size and inode: what tells one content of the file from the next. */
  readonly version: string
  readonly config: DockerConfig
}

/** Reads the file again when it changes. While it cannot be read, what it said last is used. */
export class AuthFile implements CredentialSource {
  readonly #path: string
  readonly #host: string
  readonly #logger: Logger
  readonly #reads = new Coalescer<LoadedFile>()
  readonly #helpers = new Map<string, CredentialHelper>()
  #loaded: LoadedFile | undefined
  /** The version of the file that was looked at last; empty where there was none. */
  #seen = ''
  /** The failure that was told of, and the version it was about. */
  #told: string | undefined

  constructor({ path, host, logger }: AuthFileOptions) {
    this.#path = path
    this.#host = host
    this.#logger = logger
  }

  /** A registry's own helper is asked before the store that keeps all, and that before the file's own entries. */
  async get(repository: RepositoryName): Promise<Credentials> {
    const { config } = await this.#load()
    const own = findEntry(config.helpers, this.#host, repository)
    for (const suffix of own === undefined ? [config.store] : [own, config.store]) {
      if (suffix === undefined) continue
      const credentials = await this.#helper(suffix).get()
      if (credentials.kind !== 'anonymous') return credentials
    }
    return findEntry(config.auths, this.#host, repository) ?? anonymous
  }

  refused(credentials: Credentials): void {
    for (const helper of this.#helpers.values()) helper.refused(credentials)
  }

  #helper(suffix: string): CredentialHelper {
    let helper = this.#helpers.get(suffix)
    if (helper === undefined) {
      const command = dockerHelperCommand(suffix)
      helper = new CredentialHelper({ command, server: helperServer(this.#host), lifetime: helperLifetime })
      this.#helpers.set(suffix, helper)
    }
    return helper
  }

  async #load(): Promise<LoadedFile> {
    try {
      const loaded = await this.#reads.run('read', async () => await this.#read())
      this.#told = undefined
      return loaded
    } catch (error) {
      if (this.#loaded === undefined) throw error
      const news = `${this.#seen} ${String(error)}`
      if (this.#told !== news) {
        this.#logger.warn({ error }, 'the credentials file cannot be read: what it said last is used')
      }
      this.#told = news
      return this.#loaded
    }
  }

  async #read(): Promise<LoadedFile> {
    this.#seen = ''
    await using file = await openFile(this.#path)
    const { mtimeMs, size, ino } = await file.stat()
    const version = `${mtimeMs} ${size} ${ino}`
    this.#seen = version
    if (this.#loaded?.version === version) return this.#loaded
    const text = await readAll(file)
    this.#loaded = { version, config: parseDockerConfig(text) }
    this.#helpers.clear()
    return this.#loaded
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path)
  } catch (cause) {
    throw new CredentialsError(`the credentials file ${path} cannot be read`, { cause })
  }
}

async function readAll(file: FileHandle): Promise<string> {
  try {
    return (await collect(file.createReadStream({ autoClose: false }), maxFile)).toString('utf8')
  } catch (cause) {
    throw new CredentialsError('the credentials file cannot be read', { cause })
  }
}
