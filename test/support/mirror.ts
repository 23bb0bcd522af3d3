// A mirror put together by hand, so that its storage is in the test's hands.
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

export interface MirrorUnderTest extends AsyncDisposable, Recording {
  readonly url: string
}

/** Mirrors one upstream, as the default one, without a name, on `driver`. */
export async function startMirror(upstream: string, driver: StorageDriver): Promise<MirrorUnderTest> {
  await using opening = new AsyncDisposableStack()
  const recording = recordingLogger()
  const { logger } = recording
  const facts = openFactStore({ kind: 'memory' }, logger)
  const store = openLocalRegistry({ driver, descriptors: descriptorCache(facts), deleteEnabled: true, logger })
  const url = new URL(upstream)
  const source = opening.use(
    new UpstreamRegistry({
      url,
      credentials: anonymousAccess(),
      realms: [],
      reserve: 0,
      timeouts: { connect: 2000, firstByte: 2000, idle: 2000 },
      userAgent: 'test',
      logger,
    }),
  )
  const proxy = opening.use(
    new ProxyRegistry(store, {
      upstreams: [
        { name: undefined, aliases: [], default: true, library: false, host: url.host, freshness: 60_000, source },
      ],
      hosted: [],
      offline: false,
      confirmations: new Facts(facts, 'tag', parseConfirmation),
      fill: { connections: 1, minSize: 2 ** 26, retries: 3, patience: 4000 },
      logger,
    }),
  )
  const unlimited = { usual: Infinity, most: Infinity }
  const handler = api(proxy, {
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
  const listener = opening.use(await listen(handler, { host: '127.0.0.1', port: 0, logger }))
  const resources = opening.move()
  return { ...recording, url: listener.url, [Symbol.asyncDispose]: async () => await resources.disposeAsync() }
}
