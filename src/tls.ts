// What the listener is known by: a certificate in files, or one that an authority is asked for. Beside app.ts, which wires it.
import type * as CacheFile from './acme/cache-file.ts'
import type { Issuer } from './acme/issuer.ts'
import { ConfigError, reasonOf } from './config/config-error.ts'
import type { HttpConfig } from './config/http-section.ts'
import type { HttpTlsConfig } from './config/http-tls.ts'
import type { LetsEncryptConfig } from './config/letsencrypt-section.ts'
import type { TlsFiles, TlsFilesOptions } from './http/tls-files.ts'
import { silentLogger, type Logger } from './telemetry/logger.ts'

/** `undefined`: plain HTTP. Loaded only where it is asked for. @throws ConfigError */
export async function openTls(
  { tls }: HttpConfig,
  opening: AsyncDisposableStack,
  userAgent: string,
  logger: Logger,
): Promise<TlsFiles | undefined> {
  if (tls === undefined) return undefined
  const identity =
    tls.identity.kind === 'files' ? tls.identity : opening.use(await openIssuer(tls.identity, userAgent, logger))
  return opening.use(await openFiles(tls, identity, logger))
}

/** Looks into the files that `http.tls` names, as a start would; nothing is made, and nobody is asked. @throws ConfigError */
export async function checkTls({ tls }: HttpConfig): Promise<void> {
  if (tls === undefined) return
  const { identity } = tls
  if (identity.kind === 'letsencrypt') {
    await inCacheFile(async ({ checkCacheFile }) => await checkCacheFile(identity.cacheFile))
  } else {
    using _ = await openFiles(tls, identity, silentLogger)
  }
}

/** @throws ConfigError where OpenSSL refuses what is in them, as it does a key that is too short */
async function openFiles(tls: HttpTlsConfig, identity: TlsFilesOptions['identity'], logger: Logger): Promise<TlsFiles> {
  const { TlsFiles: Files } = await import('./http/tls-files.ts')
  try {
    return await Files.open({ ...tls, identity, logger })
  } catch (cause) {
    const [key, path] =
      tls.identity.kind === 'files'
        ? ['certificate', tls.identity.certificate]
        : ['letsencrypt.cachefile', tls.identity.cacheFile]
    throw new ConfigError(`http.tls.${key}: ${path} cannot be used: ${reasonOf(cause)}`, { cause })
  }
}

async function openIssuer(config: LetsEncryptConfig, userAgent: string, logger: Logger): Promise<Issuer> {
  const [{ Issuer: Opened }, { orderBy }, { proxyAuthorization, proxyFor }] = await Promise.all([
    import('./acme/issuer.ts'),
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
  return await inCacheFile(async () => await Opened.open({ ...config, order, logger }))
}

async function inCacheFile<T>(task: (room: typeof CacheFile) => Promise<T>): Promise<T> {
  const room = await import('./acme/cache-file.ts')
  try {
    return await task(room)
  } catch (error) {
    if (!(error instanceof room.CacheFileError)) throw error
    throw new ConfigError(`http.tls.letsencrypt.cachefile: ${error.message}`, { cause: error })
  }
}
