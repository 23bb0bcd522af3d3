// `tls` of an upstream: a private authority that has signed its certificate, and a certificate of ours that it asks for.
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import type { z } from 'zod'
import { ConfigError, formatPath, type KeyPath } from './config-error.ts'
import type { UpstreamTls } from './config.ts'
import { text } from './leaf.ts'
import { readText, resolvePath } from './named-file.ts'
import { isEmpty, section, type ResolveContext } from './section.ts'

export interface UpstreamTlsInput {
  readonly ca?: string | undefined
  readonly certificate?: string | undefined
  readonly key?: string | undefined
}

export const upstreamTlsSchema: z.ZodType<UpstreamTlsInput> = section({ ca: text, certificate: text, key: text })

/** @throws ConfigError where a file cannot be read, or holds something else: better now than at the first pull */
export function resolveTls(input: UpstreamTlsInput, url: URL, at: KeyPath, context: ResolveContext): UpstreamTls {
  if (!isEmpty(input) && url.protocol !== 'https:') {
    throw new ConfigError(`${formatPath(at)}: found beside an http URL, expected an https URL`)
  }
  const read = (name: keyof UpstreamTlsInput): NamedFile | undefined => {
    const path = input[name]
    if (path === undefined) return undefined
    const key = formatPath([...at, name])
    const resolved = resolvePath(path, context)
    return { key, path: resolved, content: readText(resolved, key) }
  }
  const ca = read('ca')
  if (ca !== undefined) parseCertificates(ca)
  return { ca: ca?.content, identity: resolveIdentity(read('certificate'), read('key'), at) }
}

interface NamedFile {
  /** Whose value the path is. */
  readonly key: string
  readonly path: string
  readonly content: string
}

function resolveIdentity(
  certificate: NamedFile | undefined,
  key: NamedFile | undefined,
  at: KeyPath,
): UpstreamTls['identity'] {
  if (certificate === undefined && key === undefined) return undefined
  if (certificate === undefined || key === undefined) {
    const [missing, found] = certificate === undefined ? ['certificate', 'key'] : ['key', 'certificate']
    throw new ConfigError(`${formatPath([...at, missing])}: missing, expected beside ${found}`)
  }
  const [own] = parseCertificates(certificate)
  if (!own.checkPrivateKey(parseKey(key))) {
    throw new ConfigError(`${key.key}: ${key.path} is another key than that of the certificate`)
  }
  return { certificate: certificate.content, key: key.content }
}

/** All of them, the first being whose the file is. OpenSSL would pass over what it cannot read. */
function parseCertificates({ key, path, content }: NamedFile): [X509Certificate, ...X509Certificate[]] {
  const blocks = content.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? []
  try {
    const [first, ...others] = blocks.map((block) => new X509Certificate(block))
    if (first !== undefined) return [first, ...others]
  } catch (cause) {
    throw new ConfigError(`${key}: ${path} holds a certificate that cannot be read`, { cause })
  }
  throw new ConfigError(`${key}: ${path} holds no certificate, expected some in PEM`)
}

function parseKey({ key, path, content }: NamedFile): KeyObject {
  try {
    return createPrivateKey(content)
  } catch (cause) {
    throw new ConfigError(`${key}: ${path} holds no private key, expected one in PEM without a passphrase`, { cause })
  }
}
