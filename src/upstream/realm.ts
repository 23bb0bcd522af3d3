// Which token server may be asked, and with what. A challenge comes from outside: whoever can forge one names a realm of
// his own, and waits there for credentials (CVE-2026-33540).
import { isIP } from 'node:net'
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Bounds } from './bounds.ts'
import { isPrivateHost } from './private-address.ts'

export interface RealmOptions {
  /** Who sent the challenge. */
  readonly registry: URL
  /** Token servers, besides the registry's own origin, that credentials may go to. */
  readonly realms: readonly URL[]
  /** Whether a secret would be sent. */
  readonly secret: boolean
  readonly bounds: Bounds
}

/**
 * The token server's URL, its own query included. Credentials go to the registry's own origin and to the origins in
 * `realms`, which are compared whole: a host that merely looks related gets nothing.
 * @throws UpstreamError `invalid` where it may not be asked
 */
export function parseRealm(text: string, { registry, realms, secret, bounds }: RealmOptions): URL {
  const refuse = (why: string): UpstreamError => new UpstreamError('invalid', registry.host, why)
  const realm = URL.parse(text)
  if (realm === null || (realm.protocol !== 'https:' && realm.protocol !== 'http:')) {
    throw refuse(`${registry.host} names a token server that is no http or https URL`)
  }
  if (realm.username !== '' || realm.password !== '') {
    throw refuse(`${registry.host} names a token server with a user name in its URL`)
  }
  if (registry.protocol === 'https:' && realm.protocol !== 'https:') {
    throw refuse(`${registry.host} is reached by https, its token server ${realm.host} would be by http`)
  }
  realm.hash = ''
  if (realm.origin === registry.origin || realms.some(({ origin }) => origin === realm.origin)) return realm
  if (secret) {
    throw refuse(
      `the token server ${realm.host} is not one that credentials for ${registry.host} may go to; add it to realms`,
    )
  }
  if (!mayAskAnonymously(realm, registry, bounds)) {
    throw refuse(`the token server ${realm.host} is not one that ${registry.host} may send us to; add it to realms`)
  }
  return realm
}

/** A stranger may name any public host by its name; an address, or a host of this machine, only within our bounds. */
function mayAskAnonymously(realm: URL, registry: URL, bounds: Bounds): boolean {
  if (!bounds.mayLeadTo(realm)) return false
  if (realm.hostname === registry.hostname || isPrivateHost(realm.hostname)) return true
  return realm.protocol === 'https:' && isIP(realm.hostname.replace(/^\[|\]$/g, '')) === 0
}
