// Certificates and keys in files that a configuration names: read and proven when it is, so that a mistake is heard at once.
import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto'
import { certificatesIn } from '../bytes/certificates.ts'
import { ConfigError, formatPath, type KeyPath } from './config-error.ts'
import { readText, resolvePath, type NamedFile } from './named-file.ts'
import type { ResolveContext } from './section.ts'

export interface PemFile extends NamedFile {
  readonly content: string
}

/** @throws ConfigError in the name of `at` */
export function readPem(path: string, at: KeyPath, context: ResolveContext): PemFile {
  const key = formatPath(at)
  const resolved = resolvePath(path, context)
  return { key, path: resolved, content: readText(resolved, key) }
}

/** A certificate and its key: both or neither, and each the other's. @throws ConfigError */
export function resolveIdentity(
  certificate: PemFile | undefined,
  key: PemFile | undefined,
  at: KeyPath,
): { readonly certificate: PemFile; readonly key: PemFile } | undefined {
  if (certificate === undefined && key === undefined) return undefined
  if (certificate === undefined || key === undefined) {
    const [missing, found] = certificate === undefined ? ['certificate', 'key'] : ['key', 'certificate']
    throw new ConfigError(`${formatPath([...at, missing])}: missing, expected beside ${found}`)
  }
  const [own] = parseCertificates(certificate)
  if (!own.checkPrivateKey(parseKey(key))) {
    throw new ConfigError(`${key.key}: ${key.path} is another key than that of the certificate`)
  }
  return { certificate, key }
}

/** All of them, the first being whose the file is. @throws ConfigError */
export function parseCertificates({ key, path, content }: PemFile): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...others] = certificatesIn(content)
    if (first !== undefined) return [first, ...others]
  } catch (cause) {
    throw new ConfigError(`${key}: ${path} holds a certificate that cannot be read`, { cause })
  }
  throw new ConfigError(`${key}: ${path} holds no certificate, expected some in PEM`)
}

function parseKey({ key, path, content }: PemFile): KeyObject {
  try {
    return createPrivateKey(content)
  } catch (cause) {
    throw new ConfigError(`${key}: ${path} holds no private key, expected one in PEM without a passphrase`, { cause })
  }
}
