// `middleware`: what stands before the registry, its repositories and its storage, in the order of each list.
import { createPrivateKey } from 'node:crypto'
import { ConfigError, formatPath, misfit, type KeyPath } from './config-error.ts'
import { parseDuration } from './duration.ts'
import { readAs } from './keys.ts'
import { findPlainUrl, flag, goDuration, leaf, oneOf, plainUrl, text, timeout } from './leaf.ts'
import { readText, resolvePath } from './named-file.ts'
import { freeMap, list, section, type ResolveContext, type Schema } from './section.ts'
import type { StorageConfig } from './storage-section.ts'

/** What stands before the registry, its repositories and its storage, each list in its order. */
export interface MiddlewareConfig {
  readonly registry: readonly ModuleConfig[]
  readonly repository: readonly RepositoryModuleConfig[]
  /** Empty where nothing may be redirected. */
  readonly storage: readonly StorageMiddlewareConfig[]
}

/** A JavaScript or TypeScript module of the operator's. */
export interface ModuleConfig {
  /** Where it stands in the file: `middleware.registry[0]`. */
  readonly key: string
  /** Absolute. */
  readonly path: string
  /** How long one of its hooks is waited for. */
  readonly timeout: number
}

export interface RepositoryModuleConfig extends ModuleConfig {
  /** Globs of repositories, as the catalogue has them, that it is asked about; `undefined`: all. */
  readonly repositories: readonly string[] | undefined
}

export type StorageMiddlewareConfig =
  | { readonly kind: 'redirect'; readonly baseUrl: URL }
  | {
      readonly kind: 'cloudfront'
      readonly baseUrl: URL
      /** In PEM. */
      readonly privateKey: string
      readonly keyPairId: string
      /** How long a signed URL can be used. */
      readonly duration: number
    }
  | {
      readonly kind: 'rewrite'
      readonly scheme: 'http' | 'https' | undefined
      /** With its port, if it has one. */
      readonly host: string | undefined
      readonly trimPathPrefix: string | undefined
    }

interface ItemInput {
  readonly name?: string | undefined
  readonly disabled?: boolean | undefined
  readonly options?: Record<string, unknown> | undefined
}

export interface MiddlewareInput {
  readonly registry?: ItemInput[] | undefined
  readonly repository?: ItemInput[] | undefined
  readonly storage?: ItemInput[] | undefined
}

const items: Schema<ItemInput[]> = list(section({ name: text, disabled: flag, options: freeMap }))

export const middlewareSchema: Schema<MiddlewareInput> = section({
  registry: items,
  repository: items,
  storage: items,
})

/** One that is asked for, and where its options lie. */
interface Item {
  readonly name: string
  readonly options: Record<string, unknown>
  readonly path: KeyPath
  readonly at: KeyPath
}

const registryOptions = section({ path: text, timeout })
const repositoryOptions = section({ path: text, timeout, repositories: list(text) })

const redirectOptions = section({ baseurl: plainUrl })

const cloudfrontOptions = section({
  baseurl: leaf('a URL with a host, without user name, query or fragment', (value) => {
    return findPlainUrl(value.includes('://') ? value : `https://${value}`)
  }),
  privatekey: text,
  keypairid: leaf('the id of a key pair, such as K2JCJMDEHXQW5F', (value) =>
    /^[\w-]+$/.test(value) ? value : undefined,
  ),
  duration: goDuration,
  ipfilteredby: oneOf(['none'], 'none: who asks from where is not looked at'),
  awsregion: text,
  updatefrequency: goDuration,
  iprangesurl: text,
})

const rewriteOptions = section({
  scheme: oneOf(['http', 'https']),
  host: leaf('a host, with its port if it has one', (value) =>
    /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i.test(value) && URL.canParse(`http://${value}`) ? value : undefined,
  ),
  trimpathprefix: leaf('a path that begins with /', (value) => (/^\/[^?#\s]*$/.test(value) ? value : undefined)),
})

const defaultTimeout = parseDuration('1s')
const defaultSignedFor = parseDuration('20m')

/** Of the storage section, what decides whether clients can be sent elsewhere. */
interface StorageLimits extends Pick<StorageConfig, 'verify'> {
  readonly isRedirectDisabled: boolean
}

/** @throws ConfigError where a name is none we know: what was to stand there would be missing unseen */
export function resolveMiddleware(
  input: MiddlewareInput,
  storage: StorageLimits,
  context: ResolveContext,
): MiddlewareConfig {
  return {
    registry: itemsOf(input, 'registry', ['module']).map((item) => resolveModule(item, context)),
    repository: itemsOf(input, 'repository', ['module']).map((item) => resolveRepositoryModule(item, context)),
    storage: resolveStorageItems(itemsOf(input, 'storage', ['redirect', 'cloudfront', 'rewrite']), storage, context),
  }
}

function itemsOf(input: MiddlewareInput, level: keyof MiddlewareInput, names: readonly string[]): Item[] {
  return (input[level] ?? []).flatMap(({ name, disabled, options }, index) => {
    if (disabled === true) return []
    const path: KeyPath = ['middleware', level, index]
    if (name === undefined || !names.includes(name)) throw misfit([...path, 'name'], name, names.join(' or '))
    return [{ name, options: options ?? {}, path, at: [...path, 'options'] }]
  })
}

function needed<T>(value: T | undefined, key: string, expected: string, { at }: Item): T {
  if (value === undefined) throw misfit([...at, key], undefined, expected)
  return value
}

function resolveModule(item: Item, context: ResolveContext): ModuleConfig {
  return moduleOf(item, readAs(registryOptions, item.options, item.at), context)
}

function resolveRepositoryModule(item: Item, context: ResolveContext): RepositoryModuleConfig {
  const options = readAs(repositoryOptions, item.options, item.at)
  return { ...moduleOf(item, options, context), repositories: options.repositories }
}

function moduleOf(
  item: Item,
  options: { readonly path?: string | undefined; readonly timeout?: number | undefined },
  context: ResolveContext,
): ModuleConfig {
  const path = needed(options.path, 'path', 'the path of a JavaScript or TypeScript module', item)
  return { key: formatPath(item.path), path: resolvePath(path, context), timeout: options.timeout ?? defaultTimeout }
}

function resolveStorageItems(
  asked: readonly Item[],
  storage: StorageLimits,
  context: ResolveContext,
): StorageMiddlewareConfig[] {
  const resolved = asked.map((item) => resolveStorageItem(item, context))
  if (resolved.length === 0) return []
  if (storage.isRedirectDisabled) {
    context.warn('middleware.storage has no effect beside storage.redirect.disable: true')
    return []
  }
  if (storage.verify === 'always') {
    context.warn('middleware.storage has no effect beside storage.verify: always, which has each blob read here')
    return []
  }
  if (resolved[0]?.kind === 'rewrite') {
    context.warn('middleware.storage: a rewrite before any redirect has nothing to rewrite')
  }
  return resolved
}

function resolveStorageItem(item: Item, context: ResolveContext): StorageMiddlewareConfig {
  switch (item.name) {
    case 'redirect': {
      const baseUrl = needed(
        readAs(redirectOptions, item.options, item.at).baseurl,
        'baseurl',
        'an http or https URL',
        item,
      )
      return { kind: 'redirect', baseUrl }
    }
    case 'cloudfront':
      return resolveCloudfront(item, context)
    default: {
      const { scheme, host, trimpathprefix: trimPathPrefix } = readAs(rewriteOptions, item.options, item.at)
      return { kind: 'rewrite', scheme, host, trimPathPrefix }
    }
  }
}

function resolveCloudfront(item: Item, context: ResolveContext): StorageMiddlewareConfig {
  const options = readAs(cloudfrontOptions, item.options, item.at)
  for (const key of ['awsregion', 'updatefrequency', 'iprangesurl'] as const) {
    if (options[key] !== undefined)
      context.warn(`${formatPath([...item.at, key])} is not supported yet and has no effect`)
  }
  const path = resolvePath(needed(options.privatekey, 'privatekey', 'the path of a private key', item), context)
  return {
    kind: 'cloudfront',
    baseUrl: needed(options.baseurl, 'baseurl', 'an http or https URL', item),
    privateKey: readPrivateKey(path, formatPath([...item.at, 'privatekey'])),
    keyPairId: needed(options.keypairid, 'keypairid', 'the id of a key pair', item),
    duration: options.duration ?? defaultSignedFor,
  }
}

/** @throws ConfigError in the name of `key`: better now than at the first pull */
function readPrivateKey(path: string, key: string): string {
  const pem = readText(path, key)
  try {
    if (createPrivateKey(pem).asymmetricKeyType === 'rsa') return pem
  } catch (cause) {
    throw new ConfigError(`${key}: ${path} holds no private key, expected one in PEM without a passphrase`, { cause })
  }
  throw new ConfigError(`${key}: ${path} holds a key of another kind, expected an RSA key`)
}
