// What is done to a configured storage without serving it.
import { descriptorCache } from './cache/descriptors.ts'
import type { Config } from './config/config.ts'
import { Selector } from './proxy/selection.ts'
import {
  collectGarbage as collect,
  GarbageError,
  type GarbageOptions,
  type GarbageReport,
} from './storage/garbage/collect.ts'
import { verifyStorage as verify, VerifyError, type VerifyOptions, type VerifyReport } from './storage/verify/verify.ts'
import { openDriver, openSharedFacts } from './stores.ts'
import type { Logger } from './telemetry/logger.ts'

/** Collects the garbage of a configured storage, beside whatever serves it. @throws GarbageError where nothing was done */
export async function collectGarbage(
  config: Config,
  options: Omit<GarbageOptions, 'driver' | 'descriptors'>,
  logger: Logger,
): Promise<GarbageReport> {
  if (config.storage.driver === 'inmemory') {
    throw new GarbageError('storage is in memory: it ends with its process, so there is nothing to collect')
  }
  await using facts = openSharedFacts(config, logger)
  return await collect({ ...options, driver: openDriver(config), descriptors: descriptorCache(facts) })
}

/** Looks at the whole of a configured storage, beside whatever serves it. @throws VerifyError where nothing was done */
export async function verifyStorage(
  config: Config,
  options: Omit<VerifyOptions, 'driver' | 'descriptors' | 'isHosted' | 'areChildrenNeeded'>,
  logger: Logger,
): Promise<VerifyReport> {
  if (config.storage.driver === 'inmemory') {
    throw new VerifyError('storage is in memory: it ends with its process, so there is nothing to verify')
  }
  await using facts = openSharedFacts(config, logger)
  const { proxy, validation } = config
  const selector = new Selector(proxy?.upstreams ?? [], proxy?.hosted ?? [])
  return await verify({
    ...options,
    driver: openDriver(config),
    descriptors: descriptorCache(facts),
    isHosted: (name) => selector.select(name, undefined).kind === 'ours',
    areChildrenNeeded: !validation.disabled && validation.indexes.platforms === 'all',
  })
}
