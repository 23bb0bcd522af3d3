// What `storage` and `redis` of the configuration name: where bytes lie, and where facts are remembered.
import type { FactStore } from './cache/facts.ts'
import { openFactStore } from './cache/store.ts'
import type { Config } from './config/config.ts'
import type { StorageDriver } from './drivers/driver.ts'
import { filesystemDriver } from './drivers/filesystem.ts'
import { inMemoryDriver } from './drivers/inmemory.ts'
import type { Logger } from './telemetry/logger.ts'

export function openDriver({ storage }: Config): StorageDriver {
  if (storage.driver === 'inmemory') return inMemoryDriver()
  return filesystemDriver({ rootDirectory: storage.rootDirectory, maxThreads: storage.maxThreads })
}

/** Descriptors and confirmations of tags: in redis where replicas share them, else in memory. */
export function openFacts({ storage, redis }: Config, logger: Logger): FactStore {
  const { kind, size } = storage.descriptorCache
  return openFactStore(
    kind === 'redis' && redis !== undefined ? { kind, redis } : { kind: 'memory', entries: size },
    logger,
  )
}

/** What other processes hold in memory is theirs; redis they share. */
export function openSharedFacts(config: Config, logger: Logger): FactStore {
  return config.storage.descriptorCache.kind === 'redis'
    ? openFacts(config, logger)
    : openFactStore({ kind: 'none' }, logger)
}
