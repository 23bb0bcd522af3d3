// A mirror whose storage driver is in the test's hands: storage, proxy, API and listener over it, as `app.ts` wires them.
import { api } from '../../src/api/api.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { Facts } from '../../src/cache/facts.ts'
import { openFactStore } from '../../src/cache/store.ts'
import type { StorageDriver } from '../../src/drivers/driver.ts'
import { listen } from '../../src/http/listener.ts'
import { parseConfirmation } from '../../src/proxy/freshness.ts'
import { ProxyRegistry } from '../../src/proxy/registry.ts'
import { generateSigningKey } from '../../src/schema1/signing-key.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { anonymousAccess } from '../../src/upstream/credentials.ts'
import { UpstreamRegistry } from '../../src/upstream/upstream-registry.ts'
import { recordingLogger, type Recording } from './recording-logger.ts'

export interface MirrorOnDriver extends AsyncDisposable, Recording {
  readonly url: string
}

/** Mirrors one nameless upstream, whose tags are asked for each time; `local/**` is its own. */
export async function startMirrorOn(driver: StorageDriver, upstream: string): Promise<MirrorOnDriver> {
  await using opening = new AsyncDisposableStack()
  const recording = recordingLogger()
  const { logger } = recording
  const facts = openFactStore({ kind: 'memory' }, logger)
  const local = openLocalRegistry({ driver, descriptors: descriptorCache(facts), deleteEnabled: true, logger })
  const url = new URL(upstream)
  const source = opening.use(
    new UpstreamRegistry({
      url,
      credentials: anonymousAccess(),
      realms: [],
      timeouts: { connect: 2000, firstByte: 2000, idle: 2000 },
      userAgent: 'test',
      logger,
    }),
  )
  const registry = opening.use(
    new ProxyRegistry(local, {
      upstreams: [
        { name: undefined, aliases: [], default: true, library: false, host: url.host, freshness: 0, source },
      ],
      hosted: ['local/**'],
      offline: false,
      confirmations: new Facts(facts, 'tag', parseConfirmation),
      logger,
    }),
  )
  const unlimited = { usual: Infinity, most: Infinity }
  const handler = api(registry, {
    prefix: '/',
    headers: {},
    catalog: unlimited,
    tags: unlimited,
    externalUrl: undefined,
    relativeUrls: false,
    secret: 'of the mirror',
    readOnly: false,
    schema1: { enabled: false, key: generateSigningKey() },
    rules: { disabled: false, isAllowedUrl: () => false, isRequiredChild: () => true, classes: [] },
  })
  const listener = await listen(handler, { host: '127.0.0.1', port: 0, logger })
  opening.defer(async () => void (await listener.close(0)))
  const resources = opening.move()
  return { ...recording, url: listener.url, [Symbol.asyncDispose]: async () => await resources.disposeAsync() }
}
