// `cachefile`: who we are to an authority, and the certificate that it has given us, so that a restart asks for neither
// again. What cannot be read is never written over: an account and a certificate are not to be had any number of times.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { access, constants, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Identity } from '../http/issued-identity.ts'

export interface Kept {
  /** The directory of the authority that has issued the certificate. */
  readonly directory: string
  /** The account's key, in PEM. */
  readonly account: string
  /** `undefined`: none was issued yet. */
  readonly identity: Identity | undefined
}

/** The message is for whoever has configured the file. */
export class CacheFileError extends Error {
  override readonly name = 'CacheFileError'
}

/** `undefined`: there is no such file. @throws CacheFileError */
export async function readCacheFile(path: string): Promise<Kept | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined
    if (codeOf(cause) === 'EISDIR') {
      throw new CacheFileError(`${path} is a folder, such as distribution keeps, expected a file`, { cause })
    }
    throw new CacheFileError(`${path} cannot be read: ${String(codeOf(cause))}`, { cause })
  }
  try {
    return parseKept(text)
  } catch (cause) {
    throw new CacheFileError(
      `${path} is damaged, or not ours: nothing is written over it; take it away to begin with a new account`,
      { cause },
    )
  }
}

/** Says what a start would of the file, or of a place where there is none yet; nothing is written. @throws CacheFileError */
export async function checkCacheFile(path: string): Promise<void> {
  if ((await readCacheFile(path)) !== undefined) return
  try {
    await access(dirname(path), constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw unwritable(path, cause)
  }
}

/** @throws CacheFileError; the file is as it was then */
export async function writeCacheFile(path: string, { directory, account, identity }: Kept): Promise<void> {
  const beside = `${path}.new`
  try {
    await rm(beside, { force: true }) // one that a killed process has left
    await writeDurably(beside, `${JSON.stringify({ directory, account, ...identity }, undefined, 2)}\n`)
    await rename(beside, path)
    await syncFolder(dirname(path))
  } catch (cause) {
    throw unwritable(path, cause)
  }
}

function unwritable(path: string, cause: unknown): CacheFileError {
  return new CacheFileError(`${path} cannot be written: ${String(codeOf(cause))}`, { cause })
}

async function writeDurably(path: string, text: string): Promise<void> {
  await using file = await open(path, 'wx', 0o600) // it holds keys
  await file.writeFile(text)
  await file.sync()
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path)
  await folder.sync()
}

/** @throws what JSON, or OpenSSL, says */
function parseKept(text: string): Kept {
  const found: unknown = JSON.parse(text)
  const read = (name: string): string => {
    const value: unknown = typeof found === 'object' && found !== null ? Reflect.get(found, name) : undefined
    if (typeof value !== 'string') throw new Error(`${name} is missing`)
    return value
  }
  const account = read('account')
  createPrivateKey(account)
  const kept = { directory: read('directory'), account }
  if (typeof found !== 'object' || found === null || !('certificate' in found)) return { ...kept, identity: undefined }
  const identity = { certificate: read('certificate'), key: read('key') }
  if (!new X509Certificate(identity.certificate).checkPrivateKey(createPrivateKey(identity.key))) {
    throw new Error('the key is not that of the certificate')
  }
  return { ...kept, identity }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : error
}
