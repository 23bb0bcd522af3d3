// Credentials of the Basic scheme (RFC 7617).

export interface BasicCredentials {
  readonly user: string
  /** As it was sent: what encoding it is in, only its owner knows. */
  readonly password: Buffer
}

/** More than that is no password. */
const maxHeader = 4096

/** `undefined` where the header holds none. */
export function parseBasic(authorization: string): BasicCredentials | undefined {
  if (authorization.length > maxHeader) return undefined
  const [, encoded] = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization) ?? []
  if (encoded === undefined) return undefined
  const bytes = Buffer.from(encoded, 'base64')
  const colon = bytes.indexOf(':')
  if (colon < 0) return undefined
  return { user: bytes.toString('utf8', 0, colon), password: bytes.subarray(colon + 1) }
}
