// The certificate and key that we are known by, in files that others renew: looked at now and then, and used for the next
// connection when they have changed and fit. What does not fit changes nothing and is said once. Instead of files there may
// be somebody who asks an authority for them.
import { createPrivateKey } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import { certificatesIn } from '../bytes/certificates.ts'
import type { Logger } from '../telemetry/logger.ts'
import { hasShownProof, protocolSelector, type Identity, type IssuedIdentity } from './issued-identity.ts'

export interface TlsFilesOptions {
  /** Paths of files in PEM, or who has got them from an authority; that stays the caller's to dispose. */
  readonly identity: { readonly certificate: string; readonly key: string } | IssuedIdentity
  /** Who signs the certificates of clients; none: clients are not asked for one. */
  readonly clientAuthorities: readonly string[]
  /** What clients must show, in distribution's words. */
  readonly clientAuth:
    | 'request-client-cert'
    | 'require-any-client-cert'
    | 'verify-client-cert-if-given'
    | 'require-and-verify-client-cert'
  readonly minimumVersion: 'TLSv1.2' | 'TLSv1.3'
  /** In OpenSSL's words; Node's choice without. */
  readonly ciphers?: string | undefined
  /** Milliseconds from one look at the files to the next. */
  readonly interval?: number | undefined
  readonly logger: Logger
}

export class TlsFiles implements Disposable {
  readonly #options: TlsFilesOptions
  readonly #paths: readonly string[]
  #context: SecureContextOptions
  /** Of the files as they were last read, fitting or not. */
  #stamps: string
  #server: Server | undefined
  #timer: NodeJS.Timeout | undefined
  #isDisposed = false

  /** @throws what reading the files, or OpenSSL, says */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    const { identity, clientAuthorities } = options
    const own = 'begin' in identity ? [] : [identity.certificate, identity.key]
    const paths = [...own, ...clientAuthorities]
    const stamps = await stampsOf(paths)
    return new TlsFiles(options, paths, await readContext(options), stamps)
  }

  private constructor(
    options: TlsFilesOptions,
    paths: readonly string[],
    context: SecureContextOptions,
    stamps: string,
  ) {
    this.#options = options
    this.#paths = paths
    this.#context = context
    this.#stamps = stamps
  }

  /** For `createServer`. HTTP/1.1 is all that is agreed on: h2 is for a proxy in front. */
  serverOptions(): TlsOptions {
    const { identity, clientAuthorities, clientAuth } = this.#options
    const asks = clientAuthorities.length > 0
    return {
      ...this.#context,
      ...('begin' in identity ? { ALPNCallback: protocolSelector(identity) } : { ALPNProtocols: ['http/1.1'] }),
      requestCert: asks,
      rejectUnauthorized: asks && clientAuth === 'require-and-verify-client-cert',
    }
  }

  /** Until we are disposed of, keeps a server's context as new as the files are, and clients out that may not in. */
  attach(server: Server): void {
    const { identity, clientAuthorities, clientAuth, logger } = this.#options
    const isIssued = 'begin' in identity
    if (isIssued || clientAuthorities.length > 0) {
      // Before Node's own listener: its parser would take what came in one piece with the end of the handshake.
      server.prependListener('secureConnection', (socket: TLSSocket) => {
        if (isIssued && hasShownProof(socket)) socket.destroySoon()
        else if (clientAuthorities.length > 0 && !isWelcome(socket, clientAuth)) socket.destroy()
      })
    }
    server.on('tlsClientError', (error: Error) => logger.debug({ error }, 'a TLS handshake failed'))
    this.#server = server
    this.#lookLater()
    if (isIssued) server.once('listening', () => identity.begin(() => void this.#takeOver()))
  }

  #lookLater(): void {
    if (!this.#isDisposed) this.#timer = setTimeout(() => void this.#look(), this.#options.interval ?? 10_000).unref()
  }

  async #look(): Promise<void> {
    try {
      const stamps = await stampsOf(this.#paths) // before they are read: what changes meanwhile is read again
      if (stamps === this.#stamps) return
      this.#stamps = stamps
      await this.#takeOver()
    } finally {
      this.#lookLater()
    }
  }

  async #takeOver(): Promise<void> {
    const { identity, logger } = this.#options
    const shown = 'begin' in identity ? {} : { certificate: identity.certificate }
    try {
      this.#context = await readContext(this.#options)
      this.#server?.setSecureContext(this.#context)
      logger.info(shown, 'new certificate in use')
    } catch (error) {
      logger.error({ error, ...shown }, 'certificate files cannot be used: the old ones stay in use')
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true
    clearTimeout(this.#timer)
  }
}

/** Certificates that nobody has proven count where none needs to be. */
function isWelcome(socket: TLSSocket, clientAuth: TlsFilesOptions['clientAuth']): boolean {
  switch (clientAuth) {
    case 'request-client-cert':
    case 'require-and-verify-client-cert': // Node has seen to it
      return true
    case 'require-any-client-cert':
      return socket.getPeerX509Certificate() !== undefined
    case 'verify-client-cert-if-given':
      return socket.authorized || socket.getPeerX509Certificate() === undefined
  }
}

async function readContext(options: TlsFilesOptions): Promise<SecureContextOptions> {
  const { minimumVersion, ciphers } = options
  const ca = await Promise.all(options.clientAuthorities.map(async (path) => await readFile(path, 'utf8')))
  const own = await readIdentity(options.identity)
  const context: SecureContextOptions = {
    ...(own === undefined ? {} : { cert: own.certificate, key: own.key }),
    minVersion: minimumVersion,
    // Node's own are all good ones, and clients know which of them their machines are fast at.
    ...(ciphers === undefined ? { honorCipherOrder: false } : { ciphers }),
    ...(ca.length === 0 ? {} : { ca }),
  }
  for (const [index, text] of ca.entries()) {
    const path = options.clientAuthorities[index]
    if (certificatesIn(text).length === 0) throw new Error(`${path} holds no certificate`)
  }
  if (own !== undefined) createPrivateKey(own.key) // and Node over an empty one
  createSecureContext(context) // throws on what is torn, and on a key of another certificate
  return context
}

async function readIdentity(identity: TlsFilesOptions['identity']): Promise<Identity | undefined> {
  if ('begin' in identity) return identity.current
  const [certificate, key] = await Promise.all([readFile(identity.certificate, 'utf8'), readFile(identity.key, 'utf8')])
  return { certificate, key }
}

/** Changes with any of the files, also where a link leads elsewhere. A file that is gone for a moment is one of its states. */
async function stampsOf(paths: readonly string[]): Promise<string> {
  const stamps = await Promise.all(
    paths.map(async (path) => {
      try {
        const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
        return `${ino}:${size}:${mtimeNs}:${ctimeNs}`
      } catch (error) {
        return String(error)
      }
    }),
  )
  return stamps.join(' ')
}
