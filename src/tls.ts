// What the listener is known by: a certificate in files, or one that an authority is asked for. Beside app.ts, which wires it.
import type { Issuer } from './acme/issuer.ts'
import { ConfigError } from './config/config-error.ts'
import type { HttpConfig } from './config/http-section.ts'
import type { LetsEncryptConfig } from './config/letsencrypt-section.ts'
import type { TlsFiles } from './http/tls-files.ts'
import type { Logger } from './telemetry/logger.ts'

/** `undefined`: plain HTTP. Loaded only where it is asked for. @throws ConfigError */
export async function openTls(
  { tls }: HttpConfig,
  opening: AsyncDisposableStack,
  userAgent: string,
  logger: Logger,
): Promise<TlsFiles | undefined> {
  if (tls === undefined) return undefined
  const { TlsFiles: Files } = await import('./http/tls-files.ts')
  const identity =
    tls.identity.kind === 'files' ? tls.identity : opening.use(await openIssuer(tls.identity, userAgent, logger))
  return opening.use(await Files.open({ ...tls, identity, logger }))
}

async function openIssuer(config: LetsEncryptConfig, userAgent: string, logger: Logger): Promise<Issuer> {
  const [{ Issuer: Opened }, { CacheFileError }, { orderBy }, { proxyAuthorization, proxyFor }] = await Promise.all([
    import('./acme/issuer.ts'),
    import('./acme/cache-file.ts'),
    import('./acme/order.ts'),
    import('./upstream/http-proxy.ts'),
  ])
  const order = orderBy({
    userAgent,
    proxyFor(target) {
      const url = proxyFor(target, config.httpProxy)
      return url && { url, token: proxyAuthorization(url) }
    },
  })
  try {
    return await Opened.open({ ...config, order, logger })
  } catch (error) {
    if (!(error instanceof CacheFileError)) throw error
    throw new ConfigError(`http.tls.letsencrypt.cachefile: ${error.message}`, { cause: error })
  }
}
