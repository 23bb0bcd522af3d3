// Credentials from a program that speaks docker's helper protocol: `<command> get`, the server's name on standard input,
// JSON on standard output. No shell is involved.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Coalescer } from '../async/coalesce.ts'
import { collect } from '../bytes/stream.ts'
import { anonymous, CredentialsError, sameCredentials, type Credentials, type CredentialSource } from './credentials.ts'
import { refusalLifetime } from './refusals.ts'

export interface CredentialHelperOptions {
  /** The program and its arguments; `get` is appended. */
  readonly command: readonly string[]
  /** Whose credentials are wanted, as the program knows it. */
  readonly server: string
  /**
   * For how long an answer is remembered, in milliseconds; for ever without it, not at all where it is 0. A failure is
   * remembered for half a minute in any case.
   */
  readonly lifetime?: number | undefined
  /** How long the program may take, in milliseconds. */
  readonly timeout?: number | undefined
  /** A clock in milliseconds that never goes back. */
  readonly clock?: (() => number) | undefined
}

const maxOutput = 64 * 1024

/** Splits a configured command line at white space; quotes mean nothing. */
export function parseCommand(line: string): string[] {
  return line.split(/\s+/).filter((word) => word !== '')
}

/**
 * `ecr-login` → `docker-credential-ecr-login`
 * @throws CredentialsError where the name could be a path
 */
export function dockerHelperCommand(suffix: string): string[] {
  if (!/^[A-Za-z0-9_.-]+$/.test(suffix)) throw new CredentialsError('the name of a credential helper is not valid')
  return [`docker-credential-${suffix}`]
}

export class CredentialHelper implements CredentialSource {
  readonly #command: readonly string[]
  readonly #server: string
  readonly #lifetime: number
  readonly #timeout: number
  readonly #clock: () => number
  readonly #runs = new Coalescer<Credentials>()
  #known: { readonly credentials: Credentials; readonly since: number } | undefined
  #failed: { readonly error: unknown; readonly since: number } | undefined

  constructor(options: CredentialHelperOptions) {
    this.#command = options.command
    this.#server = options.server
    this.#lifetime = options.lifetime ?? Infinity
    this.#timeout = options.timeout ?? 10_000
    this.#clock = options.clock ?? ((): number => performance.now())
  }

  async get(): Promise<Credentials> {
    const now = this.#clock()
    if (this.#known !== undefined && now - this.#known.since < this.#lifetimeOf(this.#known.credentials)) {
      return this.#known.credentials
    }
    if (this.#failed !== undefined && now - this.#failed.since < refusalLifetime) throw this.#failed.error
    return await this.#runs.run('get', async () => {
      try {
        const credentials = await this.#run()
        this.#known = { credentials, since: this.#clock() }
        this.#failed = undefined
        return credentials
      } catch (error) {
        this.#failed = { error, since: this.#clock() }
        throw error
      }
    })
  }

  /** The program is not asked again where it has just answered: it would say the same. */
  refused(credentials: Credentials): void {
    if (this.#known === undefined || !sameCredentials(this.#known.credentials, credentials)) return
    if (this.#clock() - this.#known.since >= refusalLifetime) this.#known = undefined
  }

  /** Who has none yet may log in at any time, and nobody refuses us then. */
  #lifetimeOf({ kind }: Credentials): number {
    return kind === 'anonymous' ? Math.min(this.#lifetime, refusalLifetime) : this.#lifetime
  }

  async #run(): Promise<Credentials> {
    const [program, ...rest] = this.#command
    if (program === undefined) throw new CredentialsError('the credential helper has no command')
    const { code, output } = await runProgram(program, [...rest, 'get'], this.#server, this.#timeout)
    if (code === 0) return parseHelperOutput(program, output)
    if (/credentials not found/i.test(output)) return anonymous
    throw new CredentialsError(`the credential helper ${program} failed with exit code ${code ?? 'none'}`)
  }
}

interface Outcome {
  readonly code: number | null
  readonly output: string
}

async function runProgram(program: string, args: readonly string[], input: string, timeout: number): Promise<Outcome> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'], windowsHide: true })
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
    child.stdout.destroy() // a grandchild may still hold the other end
  }, timeout)
  child.stdin.on('error', () => {}) // a program need not read its input
  child.stdin.end(input)
  try {
    const [output, [code]] = await Promise.all([collect(child.stdout, maxOutput), once(child, 'exit')])
    return { code: typeof code === 'number' ? code : null, output: output.toString('utf8') }
  } catch (cause) {
    child.kill('SIGKILL')
    const why = late ? `took longer than ${timeout} ms` : 'cannot be run, or wrote too much'
    throw new CredentialsError(`the credential helper ${program} ${why}`, { cause })
  } finally {
    clearTimeout(timer)
  }
}

function parseHelperOutput(program: string, output: string): Credentials {
  let answer: unknown
  try {
    answer = JSON.parse(output)
  } catch {
    answer = undefined // the parser's error quotes what it read: it is not to be kept
  }
  if (typeof answer !== 'object' || answer === null || !('Secret' in answer) || !('Username' in answer)) {
    throw new CredentialsError(`the credential helper ${program} did not answer with a user name and a secret`)
  }
  const { Username: username, Secret: secret } = answer
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw new CredentialsError(`the credential helper ${program} did not answer with a user name and a secret`)
  }
  if (username === '' && secret === '') return anonymous
  return username === '<token>'
    ? { kind: 'identity-token', token: secret }
    : { kind: 'password', username, password: secret }
}
