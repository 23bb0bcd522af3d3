// The OCI distribution API over any registry: raw path → route → contract → reply.
import { randomUUID } from 'node:crypto'
import type { OutgoingHttpHeaders } from 'node:http'
import type { Handler, Reply, Request } from '../http/exchange.ts'
import type { RefuseUnparsed } from '../http/unparsed.ts'
import { RegistryError, RegistryErrors } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { CallOptions, Trace } from '../registry/call.ts'
import type { Registry, RepositoryOptions } from '../registry/registry.ts'
import { Guard } from './access.ts'
import { readBlob } from './blobs.ts'
import type { HotReplies } from './hot-replies.ts'
import { listCatalog, listTags, type PageLimits } from './listing.ts'
import { locationOf } from './location.ts'
import { pushManifest, removeManifest, type PushPolicy } from './manifest-push.ts'
import { readManifest } from './manifests.ts'
import { asRegistryError, loggedProblem, statusOf } from './problem.ts'
import { listReferrers } from './referrers.ts'
import { parseRoute, type Route } from './route.ts'
import { withEmptyLayer } from './schema1.ts'
import {
  appendUpload,
  cancelUpload,
  finishUpload,
  readUpload,
  startUpload,
  type UploadOptions,
  type UploadRequest,
} from './uploads.ts'

export interface ApiOptions extends UploadOptions, PushPolicy {
  /** Headers added to every answer, as `http.headers` has it. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly catalog: PageLimits
  readonly tags: PageLimits
  /** Nothing is written or deleted by clients; what is pulled through is still stored. */
  readonly readOnly: boolean
  /**
   * Without it every answer is found anew: for whoever must be asked, or told, each time. `access` is asked each time in any
   * case, and what is here then is for all whom it lets in: it must not depend on who they are.
   */
  readonly hotReplies?: HotReplies | undefined
  /** Whether the registry is told of each request what is known of it. */
  readonly describesRequests?: boolean | undefined
}

/** Which methods a resource has; those that do not read are gone where the registry is read-only. */
const methods: Readonly<Record<Route['kind'], readonly string[]>> = {
  root: ['GET', 'HEAD'],
  base: ['GET', 'HEAD'],
  catalog: ['GET'],
  tags: ['GET'],
  manifest: ['GET', 'HEAD', 'PUT', 'DELETE'],
  referrers: ['GET'],
  blob: ['GET', 'HEAD', 'DELETE'],
  uploads: ['POST'],
  upload: ['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE'],
}

const readingMethods: readonly string[] = ['GET', 'HEAD']

/** Those that change nothing (RFC 9110 §9.2.1). */
const safeMethods: readonly string[] = [...readingMethods, 'OPTIONS']

export function api(registry: Registry, options: ApiOptions): Handler {
  const common = commonHeaders(options)
  const guard = options.access === undefined ? undefined : new Guard(options.access, registry)
  const hot = options.hotReplies
  const find = async (request: Request): Promise<Reply> => {
    const generation = hot?.generation ?? 0
    const trace: Trace = options.describesRequests === true ? describedTrace(request, options) : { from: 'local' }
    let answered: Answered | undefined
    try {
      answered = await answer(registry, options, guard, request, trace)
    } finally {
      trace.answered?.(answered?.reply.status)
      if (!safeMethods.includes(request.method)) hot?.clear() // also where the client did not wait for the answer
    }
    for (const field of ['from', 'upstream', 'warning', 'user'] as const) {
      if (trace[field] !== undefined) request.log[field] = trace[field]
    }
    const { challenge, isHot } = answered
    let { reply } = answered
    if (isHot !== true) {
      const warning = trace.warning === undefined ? {} : { warning: warningValue(trace.warning) }
      reply = { ...reply, headers: { ...common, ...warning, ...reply.headers } }
      hot?.keep(request, reply, trace, generation)
    }
    if (challenge === undefined) return reply
    return { ...reply, headers: { ...reply.headers, 'www-authenticate': challenge } }
  }
  // Where there is a guard it is asked first.
  return guard === undefined ? (request) => hot?.find(request)?.forAll ?? find(request) : find
}

interface Answered {
  readonly reply: Reply
  /** For this client alone: never kept. */
  readonly challenge?: string | undefined
  /** Whether it is an answer of a moment ago, whose headers are all there. */
  readonly isHot?: boolean | undefined
}

function describedTrace(request: Request, options: ApiOptions): Trace {
  const { method, host, headers } = request
  const { 'user-agent': userAgent } = headers
  const base = locationOf('', request, options)
  return { from: 'local', request: { id: randomUUID(), address: nodeOf(request), host, method, userAgent, base } }
}

/** The client, with its port where it has connected itself: a proxy's word has none. */
function nodeOf({ address, peer }: Request): string {
  return peer.startsWith(`${address}:`) || peer.startsWith(`[${address}]:`) ? peer : address
}

/** Answers a client that asks too much at once; `retryAfter` in seconds. */
export function tooManyRequests(options: Pick<ApiOptions, 'headers'>): (request: Request, retryAfter: number) => Reply {
  const common = commonHeaders(options)
  return (request, retryAfter) => {
    const detail = 'this client asks for more than it may at once'
    const problem = loggedProblem(request, new RegistryError('TOOMANYREQUESTS', detail, { retryAfter }))
    return { ...problem, headers: { ...common, ...problem.headers } }
  }
}

/** Answers what is no request. */
export function malformedRequest(options: Pick<ApiOptions, 'headers'>): RefuseUnparsed {
  const common = commonHeaders(options)
  return (request, status) => {
    const problem = loggedProblem(request, new RegistryError(unparsedCodes[status]))
    return { ...problem, headers: { ...common, ...problem.headers } }
  }
}

const unparsedCodes = { 400: 'REQUEST_INVALID', 408: 'REQUEST_TIMEOUT', 431: 'REQUEST_TOO_LARGE' } as const

function commonHeaders({ headers }: Pick<ApiOptions, 'headers'>): OutgoingHttpHeaders {
  return {
    'docker-distribution-api-version': 'registry/2.0',
    'x-content-type-options': 'nosniff', // whoever pushes decides what the bytes are, no browser does
    ...Object.fromEntries(Object.entries(headers).map(([name, values]) => [name.toLowerCase(), [...values]])),
  }
}

/** A `Warning` of OCI's form (distribution-spec, «Warnings»); what no header can hold is left out of the text. */
function warningValue(text: string): string {
  return `299 - "${text
    .replace(/[^\x20-\x7e]/g, '?')
    .replace(/["\\]/g, "'")
    .slice(0, 1000)}"`
}

async function answer(
  registry: Registry,
  options: ApiOptions,
  guard: Guard | undefined,
  request: Request,
  trace: Trace,
): Promise<Answered> {
  try {
    const route = findRoute(request, options.prefix)
    if (!(route instanceof RegistryError)) describe(route, request.log)
    if (guard === undefined) return { reply: await answerRoute(registry, options, route, request, trace) }
    const guarded = await guard.check(route instanceof RegistryError ? undefined : route, request, trace)
    if (guarded?.reply !== undefined) return guarded
    const hot = options.hotReplies?.find(request)
    const reply = hot?.reply ?? (await answerRoute(registry, options, route, request, trace))
    return { reply, challenge: guarded?.challenge, isHot: hot !== undefined }
  } catch (error) {
    if (request.signal.aborted) throw error // there is nobody to tell
    const [problem, ...others] = error instanceof RegistryErrors ? error.errors : [asRegistryError(error)]
    if (statusOf(problem.code) >= 500) request.log['error'] = problem.cause ?? problem
    return { reply: loggedProblem(request, problem, ...others) }
  }
}

/** `route`: or why there is none. */
async function answerRoute(
  registry: Registry,
  options: ApiOptions,
  route: Route | RegistryError,
  request: Request,
  trace: Trace,
): Promise<Reply> {
  if (route instanceof RegistryError) throw route
  checkExpectation(request.headers.expect)
  const allowed = methods[route.kind].filter((method) => !options.readOnly || readingMethods.includes(method))
  // What browsers ask first for a page of another site counts only where it is a 2xx (Fetch, «CORS-preflight fetch»).
  if (request.method === 'OPTIONS') return { status: 200, headers: { allow: allowed.join(', '), 'content-length': 0 } }
  if (!allowed.includes(request.method)) return methodNotAllowed(request, allowed)
  return await dispatch(registry, options, route, request, { signal: request.signal, trace })
}

/** Nothing is stored under what no tag may be: whoever reads there hears of absence, whoever writes of the mistake. */
function findRoute({ method, path }: Request, prefix: string): Route | RegistryError {
  try {
    return parseRoute(path, prefix)
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    const isAbsent = error.code === 'TAG_INVALID' && readingMethods.includes(method)
    return isAbsent ? new RegistryError('MANIFEST_UNKNOWN', error.detail) : error
  }
}

async function dispatch(
  registry: Registry,
  options: ApiOptions,
  route: Route,
  request: Request,
  call: CallOptions,
): Promise<Reply> {
  switch (route.kind) {
    case 'root':
      return { status: 200, headers: { 'cache-control': 'no-cache' } }
    case 'base':
      return { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') }
    case 'catalog':
      return await listCatalog(registry, request, options.catalog, call)
    case 'tags':
      return await listTags(
        registry.repository(route.name, namespaceOf(request, call)),
        route.name,
        request,
        options.tags,
        call,
      )
    case 'manifest':
      return await answerManifest(registry, options, route, request, call)
    case 'referrers': {
      const { referrers } = registry.repository(route.name, namespaceOf(request, call))
      return await listReferrers(referrers, route.digest, request, call)
    }
    case 'blob':
      return await answerBlob(registry, options, route, request, call)
    case 'uploads':
      return await startUpload(registry, uploadRequest(registry, options, route.name, request, call))
    case 'upload':
      return await answerUpload(uploadRequest(registry, options, route.name, request, call), route.id)
  }
}

async function answerManifest(
  registry: Registry,
  options: ApiOptions,
  route: Extract<Route, { kind: 'manifest' }>,
  request: Request,
  call: CallOptions,
): Promise<Reply> {
  const { name, reference } = route
  switch (request.method) {
    case 'PUT':
      return await pushManifest(uploadRequest(registry, options, name, request, call), reference, options)
    case 'DELETE':
      return await removeManifest(registry.removable(name, namespaceOf(request, call)), reference, call)
    default: {
      const repository = registry.repository(name, namespaceOf(request, call))
      const { 'if-none-match': ifNoneMatch, accept } = request.headers
      const head = request.method === 'HEAD'
      const renew = !options.readOnly
      const asked = { head, accept, ifNoneMatch, schema1: options.schema1, renew }
      return await readManifest(repository, reference, asked, call)
    }
  }
}

async function answerBlob(
  registry: Registry,
  options: ApiOptions,
  route: Extract<Route, { kind: 'blob' }>,
  request: Request,
  call: CallOptions,
): Promise<Reply> {
  const { name, digest } = route
  if (request.method === 'DELETE') {
    await registry.removable(name, namespaceOf(request, call)).blobs.delete(digest, call)
    return { status: 202, headers: {} }
  }
  const repository = registry.repository(name, namespaceOf(request, call))
  const blobs = options.schema1.enabled ? withEmptyLayer(repository.blobs) : repository.blobs
  const { range, 'if-none-match': ifNoneMatch } = request.headers
  const ifRange = request.headers['if-range']?.toString()
  const head = request.method === 'HEAD'
  return await readBlob(blobs, digest, { head, ifNoneMatch, ifRange, range, renew: !options.readOnly }, call)
}

async function answerUpload(ask: UploadRequest, id: string): Promise<Reply> {
  switch (ask.request.method) {
    case 'PATCH':
      return await appendUpload(ask, id)
    case 'PUT':
      return await finishUpload(ask, id)
    case 'DELETE':
      return await cancelUpload(ask, id)
    default:
      return await readUpload(ask, id)
  }
}

function uploadRequest(
  registry: Registry,
  options: ApiOptions,
  name: RepositoryName,
  request: Request,
  call: CallOptions,
): UploadRequest {
  return { repository: registry.writable(name, namespaceOf(request, call)), request, options, call }
}

/** `ns` names the registry that the client means (distribution-spec, «Pulling through a proxy»). */
function namespaceOf(request: Request, call: CallOptions): RepositoryOptions {
  const [namespace, ...more] = request.query.getAll('ns')
  if (more.length > 0) throw new RegistryError('NAME_UNKNOWN', 'ns is given more than once')
  return { namespace, trace: call.trace }
}

/** @throws RegistryError EXPECTATION_UNKNOWN: there is only one, which the listener meets (RFC 9110 §10.1.1) */
function checkExpectation(expect: string | undefined): void {
  const others = expect?.split(',').filter((one) => !['', '100-continue'].includes(one.trim().toLowerCase())) ?? []
  if (others.length > 0) throw new RegistryError('EXPECTATION_UNKNOWN', 'Expect is not 100-continue')
}

function methodNotAllowed(request: Request, allowed: readonly string[]): Reply {
  const error = new RegistryError('UNSUPPORTED', `${request.method.slice(0, 20)} is not supported here`)
  const problem = loggedProblem(request, error)
  return { ...problem, headers: { ...problem.headers, allow: allowed.join(', ') } }
}

function describe(route: Route, log: Record<string, unknown>): void {
  log['kind'] = route.kind
  if ('name' in route) log['repository'] = route.name
  if (route.kind === 'manifest') {
    log['reference'] = route.reference.kind === 'tag' ? route.reference.tag : route.reference.digest
  } else if (route.kind === 'blob' || route.kind === 'referrers') log['reference'] = route.digest
}
