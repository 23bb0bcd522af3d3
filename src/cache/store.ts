// Opens the store of facts that the configuration names.
import type { Logger } from '../telemetry/logger.ts'
import type { FactStore } from './facts.ts'
import { MemoryStore } from './memory-store.ts'
import type { RedisOptions } from './redis-connection.ts'
import { RedisStore } from './redis-store.ts'

export type FactStoreConfig =
  /** Of this process alone. */
  | { readonly kind: 'memory'; readonly entries?: number | undefined }
  /** Shared by all processes that serve the same storage. */
  | { readonly kind: 'redis'; readonly redis: RedisOptions }
  /** Remembers nothing. */
  | { readonly kind: 'none' }

export const defaultEntries: number = 10_000

/** Returns at once, also where the redis is down: until it is up, nothing is known (P9). */
export function openFactStore(config: FactStoreConfig, logger: Logger): FactStore {
  switch (config.kind) {
    case 'memory':
      return new MemoryStore(config.entries ?? defaultEntries)
    case 'redis':
      return new RedisStore(config.redis, logger)
    case 'none':
      return new NoStore()
  }
}

class NoStore implements FactStore {
  readonly errors = 0
  async get(): Promise<undefined> {}
  async set(): Promise<void> {}
  async delete(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}
