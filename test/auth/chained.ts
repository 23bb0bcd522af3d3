// Tokens that carry a chain of certificates (`x5c`).
import { sign, X509Certificate } from 'node:crypto'
import type { Certified } from '../support/certificates.ts'
import { claims, token } from './tokens.ts'

export function der({ certificate }: Certified): string {
  return new X509Certificate(certificate).raw.toString('base64')
}

/** A token that carries a chain, signed by the key of `by`. */
export function chained(chain: unknown, by: Certified, header: Record<string, unknown> = {}): string {
  const signed = (data: string): Buffer => sign('sha256', Buffer.from(data), { key: by.key, dsaEncoding: 'ieee-p1363' })
  return token({ alg: 'ES256', x5c: chain, ...header }, claims, signed)
}
