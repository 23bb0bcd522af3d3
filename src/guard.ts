// Who stands before the registry: the guard that `auth` describes, or upstreams that decide themselves. Beside app.ts, which
// wires it.
import type * as AuthRoom from './auth/open.ts'
import { ConfigError } from './config/config-error.ts'
import type { Config } from './config/config.ts'
import type { ProxyRegistry } from './proxy/registry.ts'
import type { AccessController } from './registry/access.ts'
import { silentLogger, type Logger } from './telemetry/logger.ts'

/** Loaded only where it is asked for. @throws ConfigError where it cannot stand: without it the doors would be open */
export async function openGuard(
  config: Config,
  proxy: ProxyRegistry | undefined,
  logger: Logger,
): Promise<AccessController | undefined> {
  const { auth, http } = config
  if (proxy !== undefined && asksUpstreams(config)) {
    const { UpstreamGate } = await import('./auth/upstream-gate.ts')
    const isForAll = config.proxy?.upstreams.every(({ access }) => access === 'client') ?? false
    return new UpstreamGate({ find: (name, namespace) => proxy.findClaimed(name, namespace), isForAll })
  }
  if (auth === undefined) return undefined
  const options = { ...auth, externalUrl: http.externalUrl, logger }
  return await inAuth(async ({ openAccess }) => await openAccess(options))
}

/** Looks into the files that `auth` names, as a start would; nothing is made. @throws ConfigError */
export async function checkGuard({ auth, http }: Config): Promise<void> {
  if (auth === undefined) return
  const options = { ...auth, externalUrl: http.externalUrl, logger: silentLogger }
  await inAuth(async ({ checkAccess }) => await checkAccess(options))
}

async function inAuth<T>(task: (room: typeof AuthRoom) => Promise<T>): Promise<T> {
  const [room, { AccessSetupError }] = await Promise.all([import('./auth/open.ts'), import('./auth/setup-error.ts')])
  try {
    return await task(room)
  } catch (error) {
    throw error instanceof AccessSetupError ? new ConfigError(error.message, { cause: error }) : error
  }
}

/** Whether some upstream decides itself who may have what is copied from it. */
export function asksUpstreams({ proxy }: Config): boolean {
  return proxy?.upstreams.some(({ access }) => access === 'client') ?? false
}
