// Modules by path, as middleware of a registry.
import { pathToFileURL } from 'node:url'
import { globPattern } from '../oci/glob.ts'
import { isRepositoryName } from '../oci/reference.ts'
import type { Registry } from '../registry/registry.ts'
import type { Logger } from '../telemetry/logger.ts'
import { ContainedHook, type Hook } from './contained.ts'
import type { Pull, PullRequest, RouteRequest, TagRequest, Verdict } from './hooks.ts'
import { HookedRegistry, type HookedModule, type KnownRoute } from './registry.ts'

export interface ModuleOptions {
  /** Where it stands in the configuration. */
  readonly key: string
  /** Absolute. */
  readonly path: string
  /** Milliseconds that one of its hooks is waited for. */
  readonly timeout: number
}

export interface RepositoryModuleOptions extends ModuleOptions {
  /** Globs of names; `undefined`: all. */
  readonly repositories: readonly string[] | undefined
}

/** A module that cannot be used. The message is one line for a person. */
export class ModuleError extends Error {
  override readonly name = 'ModuleError'
}

const atRegistry = ['route', 'allow', 'freshness', 'onPull']
const atRepository = ['allow', 'freshness', 'onPull']

/** Milliseconds that a module may take until it has loaded, with what it waits for itself. */
const loadTimeout = 30_000

/**
 * Modules as one middleware. They are asked in the order of their lists, those of the registry first.
 * @throws ModuleError
 */
export async function loadModules(
  modules: { readonly registry: readonly ModuleOptions[]; readonly repository: readonly RepositoryModuleOptions[] },
  logger: Logger,
  patience: number = loadTimeout,
): Promise<(registry: Registry) => Registry> {
  const loaded: HookedModule[] = []
  for (const module of modules.registry) {
    loaded.push({ ...contain(await load(module, atRegistry, patience), module, logger), isAsked: () => true })
  }
  for (const module of modules.repository) {
    const hooks = contain(await load(module, atRepository, patience), module, logger)
    loaded.push({ ...hooks, isAsked: nameTest(module.repositories) })
  }
  return (registry) => new HookedRegistry(registry, loaded)
}

function nameTest(globs: readonly string[] | undefined): (repository: string) => boolean {
  const patterns = globs?.map(globPattern)
  return (name) => patterns === undefined || patterns.some((pattern) => pattern.test(name))
}

/** An export that is no hook is a hook misspelt: what it was to forbid would be allowed unseen. */
async function load(
  { key, path }: ModuleOptions,
  names: readonly string[],
  patience: number,
): Promise<ReadonlyMap<string, Hook>> {
  const exported = await importModule(key, path, patience)
  const hooks = new Map<string, Hook>()
  for (const [name, value] of Object.entries(exported)) {
    if (!names.includes(name)) {
      throw new ModuleError(`${key}.options.path: ${path} exports ${name}, expected hooks: ${names.join(', ')}`)
    }
    if (!isHook(value))
      throw new ModuleError(`${key}.options.path: ${path} exports ${name} as something else than a function`)
    hooks.set(name, value)
  }
  if (hooks.size === 0)
    throw new ModuleError(`${key}.options.path: ${path} exports no hook, expected one of ${names.join(', ')}`)
  return hooks
}

async function importModule(key: string, path: string, patience: number): Promise<object> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`it is not done after ${patience} ms`)), patience)
  try {
    const exported: unknown = await Promise.race([import(pathToFileURL(path).href), late])
    return typeof exported === 'object' && exported !== null ? exported : {}
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ModuleError(`${key}.options.path: ${path} cannot be loaded: ${reason}`, { cause })
  } finally {
    clearTimeout(timer)
  }
}

function isHook(value: unknown): value is Hook {
  return typeof value === 'function'
}

function contain(
  hooks: ReadonlyMap<string, Hook>,
  { key, timeout }: ModuleOptions,
  logger: Logger,
): Omit<HookedModule, 'isAsked'> {
  function contained<Asked extends object, Answer>(
    name: string,
    read: (answer: unknown) => Answer,
  ): ContainedHook<Asked, Answer> | undefined {
    const hook = hooks.get(name)
    return hook && new ContainedHook<Asked, Answer>({ hook, name, key, timeout, read, logger })
  }
  return {
    route: contained<RouteRequest, KnownRoute>('route', readRoute),
    allow: contained<PullRequest, Verdict>('allow', readVerdict),
    freshness: contained<TagRequest, number | undefined>('freshness', readFreshness),
    onPull: contained<Pull, void>('onPull', () => {}), // whatever it answers,
  }
}

function readRoute(answer: unknown): KnownRoute {
  if (answer === undefined || answer === 'none') return answer
  if (typeof answer !== 'object' || answer === null) throw new TypeError('the answer is no route')
  const upstream = 'upstream' in answer ? answer.upstream : undefined
  const repository = 'repository' in answer ? answer.repository : undefined
  if (upstream !== undefined && typeof upstream !== 'string') throw new TypeError('upstream is no name')
  if (repository === undefined) return { upstream, repository }
  if (typeof repository !== 'string' || !isRepositoryName(repository))
    throw new TypeError('repository is no name of one')
  return { upstream, repository }
}

function readVerdict(answer: unknown): Verdict {
  if (typeof answer !== 'object' || answer === null || !('allow' in answer) || typeof answer.allow !== 'boolean') {
    throw new TypeError('the answer is no verdict: allow is neither true nor false')
  }
  const reason = 'reason' in answer ? answer.reason : undefined
  if (reason !== undefined && typeof reason !== 'string') throw new TypeError('reason is no text')
  return { allow: answer.allow, reason: reason?.slice(0, 500) }
}

function readFreshness(answer: unknown): number | undefined {
  if (answer === undefined || (typeof answer === 'number' && answer >= 0)) return answer
  throw new TypeError('the answer is no number of milliseconds')
}
