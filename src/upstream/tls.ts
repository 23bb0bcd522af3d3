// Whose certificates an upstream is believed by, and what is shown of ours. Nothing turns the proving off.
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'

export interface TlsOptions {
  /** Certificates in PEM that are trusted beside those that Node trusts. */
  readonly ca?: string | undefined
  /** Who we are; the key may be read by nobody else. Both in PEM. */
  readonly identity?: { readonly certificate: string; readonly key: string } | undefined
}

/** What the connections of one upstream are secured by. */
export class Tls {
  readonly #options: TlsOptions
  readonly #mayKnowUs: (origin: string) => boolean
  /** Made when they are first needed: each holds some hundred certificates. */
  #own: SecureContext | undefined
  #others: SecureContext | undefined

  /** @param mayKnowUs whether an origin is shown who we are; all others that redirects lead to are not */
  constructor(options: TlsOptions, mayKnowUs: (origin: string) => boolean) {
    this.#options = options
    this.#mayKnowUs = mayKnowUs
  }

  /** For `tls.connect`. */
  connectionTo(origin: string): { rejectUnauthorized: true; secureContext?: SecureContext } {
    const rejectUnauthorized = true // whatever NODE_TLS_REJECT_UNAUTHORIZED says
    const { ca, identity } = this.#options
    if (identity !== undefined && this.#mayKnowUs(origin)) {
      this.#own ??= createSecureContext({ ...trust(ca), cert: identity.certificate, key: identity.key })
      return { rejectUnauthorized, secureContext: this.#own }
    }
    if (ca === undefined) return { rejectUnauthorized }
    this.#others ??= createSecureContext(trust(ca))
    return { rejectUnauthorized, secureContext: this.#others }
  }
}

/** Without certificates of our own, Node's way is Node's to choose. */
function trust(ca: string | undefined): { ca?: string[] } {
  return ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }
}
