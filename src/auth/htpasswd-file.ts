// Apache's file of users and hashed passwords.

export interface Htpasswd {
  /** User → bcrypt's hash. What is hashed in another way never matches, and is not here. */
  readonly users: ReadonlyMap<string, string>
  /** Lines that were left out for that. */
  readonly ignored: number
}

export class HtpasswdError extends Error {
  override readonly name = 'HtpasswdError'
}

/** Of 2^17 rounds one check takes a quarter of a minute; more is no password but a way to stand still. */
const bcryptHash = /^\$2[aby]\$(?:0[4-9]|1[0-7])\$[./A-Za-z0-9]{53}$/

/** @throws HtpasswdError at a line without colon; nothing of it is repeated */
export function parseHtpasswd(text: string): Htpasswd {
  const users = new Map<string, string>()
  let ignored = 0
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    if (colon < 0) throw new HtpasswdError(`line ${index + 1} has no colon`)
    const hash = line.slice(colon + 1)
    // `$2y$` is how Apache's htpasswd writes what the library calls `$2b$`.
    if (bcryptHash.test(hash)) users.set(line.slice(0, colon), hash.replace(/^\$2y/, '$2b'))
    else ignored += 1
  }
  return { users, ignored }
}
