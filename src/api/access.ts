// What a request needs, and what is said to one that has not got it.
import type { Reply, Request } from '../http/exchange.ts'
import { isDigest } from '../oci/digest.ts'
import { isNoRepository, RegistryError } from '../oci/error.ts'
import { isRepositoryName, type RepositoryName } from '../oci/reference.ts'
import type { AccessAction, AccessController, AccessRecord } from '../registry/access.ts'
import type { AskedObject } from '../registry/caller-rights.ts'
import type { Trace } from '../registry/call.ts'
import type { Registry, RepositoryOptions } from '../registry/registry.ts'
import { loggedProblem } from './problem.ts'
import type { Route } from './route.ts'

/**
 * `open`: nothing, not even a name. `credential`: to be somebody. `catalog`: to see the names of all repositories.
 * `repository`: rights in the repository, by method. A kind of route without a rule does not compile.
 */
export const accessRules: Readonly<Record<Route['kind'], 'open' | 'credential' | 'catalog' | 'repository'>> = {
  root: 'open',
  base: 'credential',
  catalog: 'catalog',
  tags: 'repository',
  manifest: 'repository',
  referrers: 'repository',
  blob: 'repository',
  uploads: 'repository',
  upload: 'repository',
}

/** A method that is not here is none of ours: who has every right hears so. */
const actions: Readonly<Record<string, readonly AccessAction[]>> = {
  GET: ['pull'],
  HEAD: ['pull'],
  POST: ['pull', 'push'],
  PUT: ['pull', 'push'],
  PATCH: ['pull', 'push'],
  DELETE: ['delete'],
  OPTIONS: [], // whoever may come in
}

/** Stands before every route. */
export class Guard {
  readonly #controller: AccessController
  readonly #registry: Registry

  constructor(controller: AccessController, registry: Registry) {
    this.#controller = controller
    this.#registry = registry
  }

  /**
   * `undefined`: the client may do what it asks for. `route` undefined: the path names nothing, which is said to those only who
   * may come in.
   */
  async check(route: Route | undefined, request: Request, trace: Trace): Promise<GuardedReply | undefined> {
    const rule = route === undefined ? 'credential' : accessRules[route.kind]
    if (rule === 'open' || (route !== undefined && isPreflight(request))) return undefined
    const records = this.#records(rule, route, request)
    const { address, host, headers } = request
    const decision = await this.#controller.authorize({ authorization: headers.authorization, host, address }, records)
    const { challenge } = decision
    if (decision.isGranted) {
      if (decision.user !== undefined) trace.user = decision.user
      trace.granted = records.flatMap(({ place }) => place ?? [])
      return challenge === undefined ? undefined : { challenge }
    }
    request.log['refused'] = decision.reason
    const problem = loggedProblem(request, new RegistryError('UNAUTHORIZED', detailOf(records)))
    return { reply: { ...problem, headers: { ...problem.headers, 'www-authenticate': decision.challenge } } }
  }

  #records(rule: 'credential' | 'catalog' | 'repository', route: Route | undefined, request: Request): AccessRecord[] {
    if (rule === 'catalog') return [{ type: 'registry', name: 'catalog', action: '*' }]
    if (rule === 'credential' || route === undefined || !('name' in route)) return []
    const { query } = request
    const namespaces = query.getAll('ns')
    const place = this.#placeOf(route.name, namespaces)
    // What a token server knows of `ns` is nothing: it is asked about the one name that the repository has here.
    const name = namespaces.length === 0 ? route.name : (place ?? route.name)
    const asked = { name: route.name, namespace: namespaces[0] }
    const object = objectOf(route)
    const records = (actions[request.method] ?? ['*']).map((action): AccessRecord => {
      return { type: 'repository', name, action, place, asked, object }
    })
    const from = query.get('from')
    // A mount from what is no repository's name is none.
    if (from !== null && from !== name && isRepositoryName(from)) {
      records.push({
        type: 'repository',
        name: from,
        action: 'pull',
        place: this.#placeOf(from, []),
        asked: { name: from, namespace: undefined },
        object: blobOf(query.get('mount') ?? ''),
      })
    }
    return records
  }

  /** `undefined` where the client means an upstream that is not configured, or several: nobody has rights there by policy. */
  #placeOf(name: RepositoryName, [namespace, ...more]: readonly string[]): RepositoryName | undefined {
    if (more.length > 0) return undefined
    const options: RepositoryOptions = { namespace }
    try {
      return this.#registry.place(name, options)
    } catch (error) {
      if (isNoRepository(error)) return undefined
      throw error
    }
  }
}

/**
 * What browsers ask, without credentials, before they let a page of another site ask (Fetch, «CORS-preflight request»). What they
 * hear depends on the kind of route and on the configuration only.
 */
function isPreflight({ method, headers }: Request): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined
}

/** Either the whole answer, or a challenge that goes along with it. */
export type GuardedReply =
  | { readonly reply: Reply; readonly challenge?: undefined }
  | { readonly reply?: undefined; readonly challenge: string }

function objectOf(route: Route): AskedObject | undefined {
  switch (route.kind) {
    case 'manifest':
      return route.reference.kind === 'tag' ? route.reference : { kind: 'manifest', digest: route.reference.digest }
    case 'referrers':
      return { kind: 'manifest', digest: route.digest }
    case 'blob':
      return blobOf(route.digest)
    case 'root':
    case 'base':
    case 'catalog':
    case 'tags':
    case 'uploads':
    case 'upload':
      return undefined
  }
}

function blobOf(digest: string): AskedObject | undefined {
  return isDigest(digest) ? { kind: 'blob', digest } : undefined
}

/** As distribution has it: the rights that would have been needed. */
function detailOf(records: readonly AccessRecord[]): unknown {
  if (records.length === 0) return null
  return records.map(({ type, name, action }) => ({ Type: type, Class: '', Name: name, Action: action }))
}
