// A certificate that we have asked an authority for: it comes, and is renewed, while we serve. What the authority wants to
// see before is shown to it by the same listener (TLS-ALPN-01, RFC 8737).
import type { SecureContext, TlsOptions, TLSSocket } from 'node:tls'

/** In PEM. */
export interface Identity {
  /** Ours first, then those between it and its authority. */
  readonly certificate: string
  readonly key: string
}

export interface IssuedIdentity {
  /** `undefined`: there is none yet. */
  readonly current: Identity | undefined
  /** What proves that `host`, in lower case, is ours; `undefined`: nobody has been told to look for a proof there. */
  proofFor(host: string): SecureContext | undefined
  /** From now on we can be reached. `onChange` is called whenever `current` is another. */
  begin(onChange: () => void): void
}

const proofProtocol = 'acme-tls/1'

/** Who asks for a proof asks for nothing else (RFC 8737 §3); all others are answered as if there were none. */
export function protocolSelector(issued: IssuedIdentity): NonNullable<TlsOptions['ALPNCallback']> {
  return function select(this: TLSSocket, { servername, protocols }) {
    if (protocols.length > 1 || protocols[0] !== proofProtocol) {
      return protocols.includes('http/1.1') ? 'http/1.1' : undefined
    }
    const proof = servername ? issued.proofFor(servername.toLowerCase()) : undefined // who names none has `false` for it
    if (proof === undefined) return undefined
    this.setKeyCert(proof)
    return proofProtocol
  }
}

/** Whether it was opened to see a proof, which its handshake has shown. */
export function hasShownProof(socket: TLSSocket): boolean {
  return socket.alpnProtocol === proofProtocol
}
