// Users and passwords from a file. Every user of it has every right, unless a policy says otherwise.
import { createHmac, randomBytes, randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import { access, constants, rename, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import bcrypt from 'bcrypt'
import { makeFolder } from '../bytes/folder.ts'
import type { AccessFacts } from '../registry/access.ts'
import type { Logger } from '../telemetry/logger.ts'
import { parseBasic } from './basic.ts'
import { basicChallenge } from './challenge.ts'
import type { Controller, Unverified, Verified } from './controller.ts'
import { parseHtpasswd, type Htpasswd } from './htpasswd-file.ts'
import { PasswordChecks, type Compare } from './password-checks.ts'
import { AccessSetupError, reasonOf } from './setup-error.ts'
import { WatchedFile } from './watched-file.ts'

export interface HtpasswdOptions {
  readonly realm: string
  readonly path: string
  readonly logger: Logger
  /** For tests. */
  readonly compare?: Compare | undefined
  /** A clock in milliseconds that never goes back; for tests. */
  readonly clock?: (() => number) | undefined
}

/** Bcrypt reads no more of a password: with a longer one, others would be right too. */
const maxPassword = 72

/** The rest of the pool's threads and of the cores belongs to those who are in already. */
const running = Math.min(4, Math.max(1, availableParallelism() - 1))
const waiting = 100

const key = 'auth.htpasswd.path'

export class HtpasswdController implements Controller {
  readonly #realm: string
  readonly #file: WatchedFile<Htpasswd>
  readonly #checks: PasswordChecks

  private constructor(realm: string, file: WatchedFile<Htpasswd>, checks: PasswordChecks) {
    this.#realm = realm
    this.#file = file
    this.#checks = checks
  }

  /**
   * Where there is no file one is made, with a user of its own.
   * @throws AccessSetupError where it cannot be read or made, or would let nobody in
   */
  static async open({ realm, path, logger, compare = bcryptCompare, clock }: HtpasswdOptions): Promise<Controller> {
    const named = { key, path }
    if (!existsSync(path)) await orUnmakable(path, createMissing(path, logger))
    const file = await WatchedFile.open({ ...named, parse: parseHtpasswd, logger, clock })
    const { users, ignored } = await file.content()
    if (users.size === 0) throw new AccessSetupError(named, 'holds no password that is hashed by bcrypt (htpasswd -B)')
    if (ignored > 0) logger.warn({ lines: ignored }, 'passwords that are not hashed by bcrypt never match')
    return new HtpasswdController(realm, file, new PasswordChecks({ compare, running, waiting }))
  }

  async verify({ authorization = '' }: AccessFacts): Promise<Verified | Unverified> {
    if (authorization === '') return { reason: 'no credentials' }
    const credentials = parseBasic(authorization)
    if (credentials === undefined) return { reason: 'not basic credentials' }
    const { user, password } = credentials
    const content = await this.#file.content()
    const hash = content.users.get(user)
    // Whoever is unknown, or sends what can be no password, waits as long as who is wrong (T-87).
    const isRight = await this.#checks.isRight(user, password.subarray(0, maxPassword), hash ?? decoyOf(user, content))
    if (!isRight || hash === undefined || !isPassword(password)) return { reason: 'wrong user or password' }
    return { user, claims: {} }
  }

  challenge(): string {
    return basicChallenge(this.#realm)
  }
}

async function bcryptCompare(password: Buffer, hash: string): Promise<boolean> {
  return await bcrypt.compare(password, hash)
}

/** A NUL ends the password for other readers of the same file. */
function isPassword(password: Buffer): boolean {
  return password.byteLength <= maxPassword && !password.includes(0)
}

const alphabet = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const decoySalt = Array.from({ length: 53 }, () => alphabet[randomInt(alphabet.length)]).join('')

const decoyKey = randomBytes(32)

/**
 * The hash of nothing that anybody knows, as dear as some user's, for the same name always the same: where hashes are
 * not all equally dear, it must not show by that either who is in the file.
 */
function decoyOf(user: string, { users }: Htpasswd): string {
  const hashes = [...users.values()]
  const pick = createHmac('sha256', decoyKey).update(user).digest().readUInt32BE() % Math.max(1, hashes.length)
  return `${hashes[pick]?.slice(0, 7) ?? '$2b$10$'}${decoySalt}`
}

/** Looks at where `open` would make a file; none is made. @throws AccessSetupError as that does */
export async function checkMissing(path: string): Promise<void> {
  let folder = dirname(path)
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder)
  await orUnmakable(path, access(`${folder}/.`, constants.W_OK | constants.X_OK))
}

async function orUnmakable(path: string, made: Promise<void>): Promise<void> {
  try {
    await made
  } catch (cause) {
    throw new AccessSetupError({ key, path }, `cannot be made: ${reasonOf(cause)}`, cause)
  }
}

/** As distribution does: a user `docker`, whose password is shown this once. Whoever is killed on the way leaves no half of it. */
async function createMissing(path: string, logger: Logger): Promise<void> {
  const password = randomBytes(24).toString('base64url')
  await makeFolder(dirname(path))
  const unfinished = `${path}.${randomBytes(8).toString('hex')}`
  await writeFile(unfinished, `docker:${await bcrypt.hash(password, 10)}\n`, { flag: 'wx', mode: 0o600, flush: true })
  await rename(unfinished, path)
  // Not a word less than an error: at any level of the log, it is the only place to have it from.
  logger.error(
    { path, user: 'docker', initial: password },
    'the htpasswd file was missing: one is made, and its password shown this once',
  )
}
