// Certificates in PEM (RFC 7468).
import { X509Certificate } from 'node:crypto'

const block = /-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs

/** All that a text holds. OpenSSL would pass over what it cannot read. @throws what it says of one that cannot be read */
export function certificatesIn(pem: string): X509Certificate[] {
  return Array.from(pem.matchAll(block), ([text]) => new X509Certificate(text))
}
