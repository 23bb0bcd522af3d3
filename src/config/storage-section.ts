// `storage`: one driver, and how it is used.
import { resolve } from 'node:path'
import { ConfigError } from './config-error.ts'
import { parseDuration } from './duration.ts'
import { count, duration, flag, goDuration, oneOf, size, text } from './leaf.ts'
import { parseSize } from './size.ts'
import { freeMap, later, section, type ResolveContext, type Schema } from './section.ts'

export interface StorageConfig {
  readonly driver: 'filesystem' | 'inmemory'
  /** Absolute. Means nothing to `inmemory`. */
  readonly rootDirectory: string
  /** How many file operations may run at once. */
  readonly maxThreads: number
  readonly deleteEnabled: boolean
  readonly readOnly: boolean
  /** When content is proven against its digest: on its first reading after a start, on every reading, or never. */
  readonly verify: 'first' | 'always' | 'never'
  readonly scrub: ScrubConfig
  readonly uploadPurging: UploadPurgingConfig
  readonly descriptorCache: DescriptorCacheConfig
}

/** Reading all that is stored in the background, to find what is damaged. */
export interface ScrubConfig {
  readonly enabled: boolean
  /** From the beginning of one round to that of the next; an hour at least. */
  readonly interval: number
  /** Bytes a second; 64 KiB at least. */
  readonly rate: number
}

export interface UploadPurgingConfig {
  readonly enabled: boolean
  /** Uploads that were begun, and last written to, longer ago are removed. */
  readonly age: number
  /** A minute at least. */
  readonly interval: number
  /** Only says what it would remove. */
  readonly dryRun: boolean
}

export interface DescriptorCacheConfig {
  readonly kind: 'inmemory' | 'redis' | 'none'
  /** Entries held in memory. */
  readonly size: number
}

interface CacheInput {
  readonly blobdescriptor?: string | undefined
  readonly layerinfo?: string | undefined
  readonly blobdescriptorsize?: number | undefined
}

interface PurgingInput {
  readonly enabled?: boolean | undefined
  readonly age?: number | undefined
  readonly interval?: number | undefined
  readonly dryrun?: boolean | undefined
}

interface ScrubInput {
  readonly enabled?: boolean | undefined
  readonly interval?: number | undefined
  readonly rate?: number | undefined
}

export interface StorageInput {
  readonly filesystem?:
    | { readonly rootdirectory?: string | undefined; readonly maxthreads?: number | undefined }
    | undefined
  readonly inmemory?: Record<string, unknown> | undefined
  readonly verify?: StorageConfig['verify'] | undefined
  readonly scrub?: ScrubInput | undefined
  readonly cache?: CacheInput | undefined
  readonly delete?: { readonly enabled?: boolean | undefined } | undefined
  readonly redirect?: { readonly disable?: boolean | undefined } | undefined
  readonly maintenance?:
    | {
        readonly readonly?: { readonly enabled?: boolean | undefined } | undefined
        readonly uploadpurging?: PurgingInput | undefined
      }
    | undefined
}

const supported = ['filesystem', 'inmemory'] as const

/** Drivers of distribution, its current ones and those of version 2. */
const unsupported = ['s3', 's3aws', 'gcs', 'azure', 'oss', 'swift'] as const

export const storageSchema: Schema<StorageInput> = section({
  filesystem: section({ rootdirectory: text, maxthreads: count }),
  inmemory: freeMap,
  s3: freeMap,
  s3aws: freeMap,
  gcs: freeMap,
  azure: freeMap,
  oss: freeMap,
  swift: freeMap,
  delete: section({ enabled: flag }),
  verify: oneOf(['first', 'always', 'never']),
  scrub: section({ enabled: flag, interval: duration, rate: size }),
  redirect: section({ disable: flag }),
  cache: section({ blobdescriptor: text, layerinfo: text, blobdescriptorsize: count }),
  tag: section({ concurrencylimit: later(count) }),
  maintenance: section({
    uploadpurging: section({ enabled: flag, age: goDuration, interval: goDuration, dryrun: flag }),
    readonly: section({ enabled: flag }),
  }),
})

const defaultRootDirectory = '/var/lib/registry'
const defaultMaxThreads = 100
const leastMaxThreads = 25
const defaultCacheSize = 10_000
const defaultPurgingAge = parseDuration('168h')
const defaultPurgingInterval = parseDuration('24h')
const leastPurgingInterval = parseDuration('1m')
const defaultScrubInterval = parseDuration('7d')
const leastScrubInterval = parseDuration('1h')
const defaultScrubRate = parseSize('20MiB')
const leastScrubRate = parseSize('64KiB')

/** @throws ConfigError unless exactly one driver is named, and one that we have */
export function resolveStorage(input: StorageInput | undefined, context: ResolveContext): StorageConfig {
  const driver = findDriver(input ?? {})
  const filesystem = input?.filesystem ?? {}
  return {
    driver,
    rootDirectory: driver === 'inmemory' ? '/' : resolve(context.cwd, filesystem.rootdirectory ?? defaultRootDirectory),
    maxThreads: resolveMaxThreads(filesystem.maxthreads ?? defaultMaxThreads, context),
    deleteEnabled: input?.delete?.enabled ?? false,
    readOnly: input?.maintenance?.readonly?.enabled ?? false,
    verify: input?.verify ?? 'first',
    scrub: resolveScrub(input?.scrub ?? {}, context),
    uploadPurging: resolvePurging(input?.maintenance?.uploadpurging ?? {}, context),
    descriptorCache: resolveCache(input?.cache ?? {}, context),
  }
}

function findDriver(input: StorageInput): StorageConfig['driver'] {
  const named = [...supported, ...unsupported].filter((name) => Object.hasOwn(input, name))
  const [driver, another] = named
  const choice = supported.join(' or ')
  if (driver === undefined) throw new ConfigError(`storage: missing, expected one storage driver: ${choice}`)
  if (another !== undefined) {
    throw new ConfigError(`storage: found ${named.join(' and ')}, expected exactly one storage driver`)
  }
  if (driver === 'filesystem' || driver === 'inmemory') return driver
  throw new ConfigError(`storage.${driver}: this driver is not supported yet, expected ${choice}`)
}

function resolveMaxThreads(asked: number, context: ResolveContext): number {
  if (asked < leastMaxThreads) {
    context.warn(`storage.filesystem.maxthreads is ${asked}; the least is ${leastMaxThreads}, which is used`)
  }
  return Math.max(asked, leastMaxThreads)
}

function resolveScrub(input: ScrubInput, context: ResolveContext): ScrubConfig {
  const { enabled = false, interval = defaultScrubInterval, rate = defaultScrubRate } = input
  if (enabled && interval < leastScrubInterval) {
    context.warn('storage.scrub.interval is less than an hour; an hour is used')
  }
  if (enabled && rate < leastScrubRate) context.warn('storage.scrub.rate is less than 64KiB; 64KiB is used')
  return { enabled, interval: Math.max(interval, leastScrubInterval), rate: Math.max(rate, leastScrubRate) }
}

/** distribution wants all of the keys or none; here each has its default. */
function resolvePurging(input: PurgingInput, context: ResolveContext): UploadPurgingConfig {
  const { enabled = true, age = defaultPurgingAge, interval = defaultPurgingInterval, dryrun = false } = input
  if (enabled && interval < leastPurgingInterval) {
    context.warn('storage.maintenance.uploadpurging.interval is less than a minute; a minute is used')
  }
  return { enabled, age, interval: Math.max(interval, leastPurgingInterval), dryRun: dryrun }
}

function resolveCache(input: CacheInput, context: ResolveContext): DescriptorCacheConfig {
  if (input.blobdescriptorsize === 0) {
    context.warn(
      `storage.cache.blobdescriptorsize is 0; a cache without bound is not offered, ${defaultCacheSize} is used`,
    )
  }
  const entries = input.blobdescriptorsize === 0 ? defaultCacheSize : (input.blobdescriptorsize ?? defaultCacheSize)
  const key = input.blobdescriptor === undefined ? 'layerinfo' : 'blobdescriptor'
  const kind = input[key] ?? 'inmemory'
  if (kind === 'inmemory' || kind === 'redis') return { kind, size: entries }
  context.warn(`storage.cache.${key} names no cache we know (inmemory, redis), so none is used`)
  return { kind: 'none', size: entries }
}
