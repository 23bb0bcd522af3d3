// `tls` of an upstream: a private authority that has signed its certificate, and a certificate of ours that it asks for.
import { ConfigError, formatPath, type KeyPath } from './config-error.ts'
import { text } from './leaf.ts'
import { parseCertificates, readPem, resolveIdentity, type PemFile } from './pem.ts'
import { isEmpty, section, type ResolveContext, type Schema } from './section.ts'

/** What files held when they were read, in PEM. */
export interface UpstreamTls {
  /** Trusted beside those that Node trusts. */
  readonly ca: string | undefined
  /** Shown to the upstream, and to the token servers that are named. */
  readonly identity: { readonly certificate: string; readonly key: string } | undefined
}

export interface UpstreamTlsInput {
  readonly ca?: string | undefined
  readonly certificate?: string | undefined
  readonly key?: string | undefined
}

export const upstreamTlsSchema: Schema<UpstreamTlsInput> = section({ ca: text, certificate: text, key: text })

/** @throws ConfigError where a file cannot be read, or holds something else: better now than at the first pull */
export function resolveTls(input: UpstreamTlsInput, url: URL, at: KeyPath, context: ResolveContext): UpstreamTls {
  if (!isEmpty(input) && url.protocol !== 'https:') {
    throw new ConfigError(`${formatPath(at)}: found beside an http URL, expected an https URL`)
  }
  const read = (name: keyof UpstreamTlsInput): PemFile | undefined => {
    const path = input[name]
    return path === undefined ? undefined : readPem(path, [...at, name], context)
  }
  const ca = read('ca')
  if (ca !== undefined) parseCertificates(ca)
  const identity = resolveIdentity(read('certificate'), read('key'), at)
  return {
    ca: ca?.content,
    identity: identity && { certificate: identity.certificate.content, key: identity.key.content },
  }
}
