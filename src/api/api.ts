// The OCI distribution API over any registry: raw path → route → contract → reply.
import type { Handler, Reply, Request } from '../http/exchange.ts'
import { RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CallOptions, Trace } from '../registry/call.ts'
import type { Registry } from '../registry/registry.ts'
import type { Repository } from '../registry/source.ts'
import { readBlob } from './blobs.ts'
import { listCatalog, listTags, type PageLimits } from './listing.ts'
import { readManifest } from './manifests.ts'
import { asRegistryError, problemReply, statusOf } from './problem.ts'
import { parseRoute, type Route } from './route.ts'

export interface ApiOptions {
  /** Where the API lies: begins and ends with `/`. */
  readonly prefix: string
  /** Headers added to every answer, as `http.headers` has it. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly catalog: PageLimits
  readonly tags: PageLimits
}

/** Which methods a resource has. */
const methods: Readonly<Record<Route['kind'], readonly string[]>> = {
  root: ['GET', 'HEAD'],
  base: ['GET', 'HEAD'],
  catalog: ['GET'],
  tags: ['GET'],
  manifest: ['GET', 'HEAD'],
  blob: ['GET', 'HEAD'],
  uploads: [],
  upload: [],
}

export function api(registry: Registry, options: ApiOptions): Handler {
  const common = {
    'docker-distribution-api-version': 'registry/2.0',
    ...Object.fromEntries(Object.entries(options.headers).map(([name, values]) => [name.toLowerCase(), [...values]])),
  }
  return async (request) => {
    const trace: Trace = { from: 'local' }
    const reply = await answer(registry, options, request, trace)
    for (const field of ['from', 'upstream', 'warning'] as const) {
      if (trace[field] !== undefined) request.log[field] = trace[field]
    }
    const warning = trace.warning === undefined ? {} : { warning: `299 - "${trace.warning.replace(/["\\]/g, "'")}"` }
    return { ...reply, headers: { ...common, ...warning, ...reply.headers } }
  }
}

async function answer(registry: Registry, options: ApiOptions, request: Request, trace: Trace): Promise<Reply> {
  try {
    const route = parseRoute(request.path, options.prefix)
    describe(route, request.log)
    const allowed = methods[route.kind]
    if (!allowed.includes(request.method)) return methodNotAllowed(request.method, allowed)
    return await dispatch(registry, options, route, request, { signal: request.signal, trace })
  } catch (error) {
    const problem = asRegistryError(error)
    request.log['code'] = problem.code
    if (statusOf(problem.code) >= 500) request.log['error'] = problem.cause ?? problem
    return problemReply(problem)
  }
}

async function dispatch(
  registry: Registry,
  options: ApiOptions,
  route: Route,
  request: Request,
  call: CallOptions,
): Promise<Reply> {
  const head = request.method === 'HEAD'
  const ifNoneMatch = request.headers['if-none-match']
  switch (route.kind) {
    case 'root':
      return { status: 200, headers: { 'cache-control': 'no-cache' } }
    case 'base':
      return { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') }
    case 'catalog':
      return await listCatalog(registry, request, options.catalog, call)
    case 'tags':
      return await listTags(repositoryOf(registry, route.name, request, call), route.name, request, options.tags, call)
    case 'manifest': {
      const repository = repositoryOf(registry, route.name, request, call)
      return await readManifest(repository, route.reference, { head, ifNoneMatch }, call)
    }
    case 'blob': {
      const { blobs } = repositoryOf(registry, route.name, request, call)
      const ifRange = request.headers['if-range']?.toString()
      const { range } = request.headers
      return await readBlob(blobs, route.digest, { head, ifNoneMatch, ifRange, range }, call)
    }
    case 'uploads':
    case 'upload':
      throw new RegistryError('UNSUPPORTED')
  }
}

/** `ns` names the registry that the client means (distribution-spec, «Pulling through a proxy»). */
function repositoryOf(registry: Registry, name: RepositoryName, request: Request, call: CallOptions): Repository {
  const [namespace, ...more] = request.query.getAll('ns')
  if (more.length > 0) throw new RegistryError('NAME_UNKNOWN', 'ns is given more than once')
  return registry.repository(name, { namespace, trace: call.trace })
}

function methodNotAllowed(method: string, allowed: readonly string[]): Reply {
  const problem = problemReply(new RegistryError('UNSUPPORTED', `${method.slice(0, 20)} is not supported here`))
  return { ...problem, headers: { ...problem.headers, allow: allowed.join(', ') } }
}

function describe(route: Route, log: Record<string, unknown>): void {
  log['kind'] = route.kind
  if ('name' in route) log['repository'] = route.name
  if (route.kind === 'manifest') {
    log['reference'] = route.reference.kind === 'tag' ? route.reference.tag : route.reference.digest
  } else if (route.kind === 'blob') log['reference'] = route.digest
}
