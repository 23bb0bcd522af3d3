// Finds and starts real programs: a registry to pull from, the clients that people pull with, and entrepot as a process.
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { accessSync, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

/** The folder that holds `src` and `package.json`. */
export const checkout: string = join(import.meta.dirname, '../..')

/** How long a real part may take for one step before the test gives up on it. */
const patience = 30_000
const searchPath = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']
/** They mount, unpack files of other owners and enter namespaces. */
const forRootOnly = ['buildah', 'podman', 'containerd']

/**
 * Why a test that needs these programs cannot run here, or `false`: made for `test(name, { skip: without(…) })`.
 * `ENTREPOT_REQUIRE_PEERS=1` makes it run all the same, and fail; `ENTREPOT_REQUIRE_PEBBLE=1` does so for pebble, which
 * Debian has not.
 */
export function without(...programs: readonly string[]): string | false {
  const asked = programs.filter((program) => process.env[`ENTREPOT_REQUIRE_${partOf(program)}`] !== '1')
  const missing = asked.filter((program) => findProgram(program) === undefined)
  if (missing.length > 0) return `not installed here: ${missing.join(', ')}`
  const refused = asked.filter((program) => forRootOnly.includes(program))
  if (refused.length > 0 && process.getuid?.() !== 0) return `only root may run ${refused.join(', ')}`
  return false
}

function partOf(program: string): 'PEBBLE' | 'PEERS' {
  return program === 'pebble' ? 'PEBBLE' : 'PEERS'
}

function findProgram(name: string): string | undefined {
  return searchPath
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** A folder of its own, gone at the end with all that is in it. */
export interface Folder extends AsyncDisposable {
  readonly path: string
  /** Writes a file into it and returns the file's path. */
  write(name: string, text: string): Promise<string>
}

export async function temporaryFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), 'entrepot-'))
  return {
    path,
    async write(name, text) {
      const file = join(path, name)
      await writeFile(file, text)
      return file
    },
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

export interface Running extends AsyncDisposable {
  readonly pid: number
  /** What it has written until now, to its standard output and its standard error. */
  output(): string
  stdout(): string
  /**
   * Resolves with the first place of the output that fits, past or to come.
   * @throws AssertionError where the process ends before, or takes too long
   */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>
  /** Resolves with its exit code once it ends of itself; `null`: a signal ended it. @throws AssertionError where it takes too long */
  ended(): Promise<number | null>
  /** Asks it to end, in the end by force. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly cwd?: string | undefined
  /** A file for its output; then `output` has the end of it. */
  readonly log?: string | undefined
}

/** @throws AssertionError where there is no such program */
export async function startProcess(
  name: string,
  args: readonly string[],
  { env = {}, cwd, log }: StartOptions = {},
): Promise<Running> {
  const program = name.includes('/') ? name : findProgram(name)
  assert.ok(program !== undefined, `${name} is not installed here`)
  const file = log === undefined ? undefined : openSync(log, 'a')
  const out = file ?? 'pipe'
  const child = spawn(program, args, { env: { ...process.env, ...env }, cwd, stdio: ['ignore', out, out] })
  if (file !== undefined) closeSync(file)
  const running = new RunningProcess(name, child, log)
  await once(child, 'spawn')
  return running
}

class RunningProcess implements Running {
  readonly pid: number
  readonly #name: string
  readonly #child: ChildProcess
  readonly #log: string | undefined
  readonly #closed = Promise.withResolvers<void>()
  #isClosed = false
  #output = ''
  #stdout = ''
  #news = Promise.withResolvers<void>()

  constructor(name: string, child: ChildProcess, log: string | undefined) {
    this.#name = name
    this.#child = child
    this.#log = log
    this.pid = child.pid ?? 0
    // Whatever becomes of the test, nothing that it started outlives it.
    const kill = (): void => void child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('close', () => {
      process.removeListener('exit', kill)
      this.#isClosed = true
      this.#closed.resolve()
      this.#news.resolve()
    })
    if (child.stdout !== null) void this.#follow(child.stdout, (text) => (this.#stdout += text))
    if (child.stderr !== null) void this.#follow(child.stderr, () => {})
  }

  output(): string {
    return this.#log === undefined ? this.#output : endOf(this.#log)
  }

  stdout(): string {
    return this.#stdout
  }

  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    using deadline = new Deadline()
    for (;;) {
      const match = pattern.exec(this.output())
      if (match !== null) return match
      assert.ok(!this.#isClosed, `${this.#name} ended before it said ${String(pattern)}:\n${this.output()}`)
      assert.ok(!deadline.passed, `${this.#name} did not say ${String(pattern)}:\n${this.output()}`)
      const look = this.#log === undefined ? [] : [delay(2)] // a file does not tell
      await Promise.race([this.#news.promise, deadline.promise, ...look])
    }
  }

  async ended(): Promise<number | null> {
    using deadline = new Deadline()
    await Promise.race([this.#closed.promise, deadline.promise])
    assert.ok(this.#isClosed, `${this.#name} did not end:\n${this.output()}`)
    return this.#child.exitCode
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.#isClosed) return this.#child.exitCode
    this.#child.kill(signal)
    try {
      return await this.ended()
    } catch (error) {
      this.#child.kill('SIGKILL')
      await this.#closed.promise
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #follow(stream: Readable, keep: (text: string) => void): Promise<void> {
    for await (const chunk of stream.setEncoding('utf8')) {
      keep(String(chunk))
      this.#output += String(chunk)
      this.#news.resolve()
      this.#news = Promise.withResolvers()
    }
  }
}

/** The end of our patience. */
class Deadline implements Disposable {
  passed = false
  readonly promise: Promise<void>
  readonly #timer: NodeJS.Timeout

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.promise = promise
    this.#timer = setTimeout(() => {
      this.passed = true
      resolve()
    }, patience)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }
}

/** Runs a program to its end; resolves with its standard output. @throws AssertionError where it fails, with its words */
export async function run(name: string, args: readonly string[], options?: StartOptions): Promise<string> {
  await using running = await startProcess(name, args, options)
  const code = await running.ended()
  assert.equal(code, 0, `${name} ${args.join(' ')}\n${running.output()}`)
  return running.stdout().trim()
}

/** The last 64 KiB of a file: a benchmark's log has more than a text can hold. */
function endOf(path: string): string {
  const file = openSync(path, 'r')
  try {
    const end = Buffer.alloc(64 * 1024)
    const length = readSync(file, end, 0, end.byteLength, Math.max(0, fstatSync(file).size - end.byteLength))
    return end.toString('utf8', 0, length)
  } finally {
    closeSync(file)
  }
}

/** Polls until `holds`. For what a program does without telling: anything else has an event or a line of output. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patience
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `waited in vain: ${what}`)
    await delay(20)
  }
}

/** A port that was free a moment ago, for programs that cannot choose one themselves. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}

/** Whether somebody takes connections at a port: for whoever does not say that he listens. */
export async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false // not yet
  } finally {
    socket.destroy()
  }
}

export interface Registry extends AsyncDisposable {
  /** `host:port`, as clients write it before a repository's name. */
  readonly host: string
  readonly url: string
  readonly process: Running
  stop(): Promise<number | null>
}

export interface DockerRegistryOptions {
  /** Its `rootdirectory`. */
  readonly root: string
  /** Makes it a pull-through cache of this registry. */
  readonly proxyUrl?: string | undefined
  /** A file of users and passwords; without it, everybody may do everything. */
  readonly htpasswd?: string | undefined
}

/** distribution, as Debian has it. */
export async function startDockerRegistry(
  folder: Folder,
  { root, proxyUrl, htpasswd }: DockerRegistryOptions,
): Promise<Registry> {
  const config = [
    'version: 0.1',
    'log: { level: info }',
    `storage: { filesystem: { rootdirectory: ${root} } }`,
    'http: { addr: 127.0.0.1:0, secret: none }',
    ...(proxyUrl === undefined ? [] : [`proxy: { remoteurl: ${proxyUrl} }`]),
    ...(htpasswd === undefined ? [] : [`auth: { htpasswd: { realm: theirs, path: ${htpasswd} } }`]),
  ]
  const file = await folder.write(`docker-registry-${randomUUID()}.yml`, config.join('\n'))
  const process = await startProcess('docker-registry', ['serve', file])
  const [, host = ''] = await process.waitFor(/listening on (127\.0\.0\.1:\d+)/)
  return registryAt(host, process)
}

export interface Entrepot extends Registry {
  /** Its log, line by line. */
  lines(): Record<string, unknown>[]
}

/** `text` is its config.yml; it should listen on `127.0.0.1:0`. */
export async function startEntrepot(
  folder: Folder,
  text: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Entrepot> {
  const file = await folder.write(`entrepot-${randomUUID()}.yml`, text)
  return await entrepotAt(await startProcess(process.execPath, ['src/main.ts', 'serve', file], { cwd: checkout, env }))
}

/** Waits until a process that is entrepot listens. */
export async function entrepotAt(running: Running): Promise<Entrepot> {
  const [, host = ''] = await running.waitFor(/"url":"https?:\/\/([^"/]+)[^\n]*"listening"/)
  const lines = (): Record<string, unknown>[] =>
    running
      .stdout()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  return { ...registryAt(host, running), lines }
}

function registryAt(host: string, process: Running): Registry {
  const stop = async (): Promise<number | null> => await process.stop()
  return {
    host,
    url: `http://${host}`,
    process,
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}

export interface Redis extends AsyncDisposable {
  readonly host: string
  readonly process: Running
  /** Asks it something, in the words of redis-cli. */
  ask(...words: readonly string[]): Promise<string>
}

/** With nothing in it, and nothing kept. `password`: what it asks everybody for. */
export async function startRedis(password?: string): Promise<Redis> {
  const port = String(await freePort())
  const guarded = password === undefined ? [] : ['--requirepass', password]
  const known = password === undefined ? [] : ['--no-auth-warning', '-a', password]
  const process = await startProcess('redis-server', ['--bind', '127.0.0.1', '--port', port, '--save', '', ...guarded])
  await process.waitFor(/Ready to accept connections/)
  return {
    host: `127.0.0.1:${port}`,
    process,
    ask: async (...words) => await run('redis-cli', [...known, '-h', '127.0.0.1', '-p', port, ...words]),
    async [Symbol.asyncDispose]() {
      await process.stop()
    },
  }
}
