// Asking a token server for a bearer token: distribution's token protocol by GET, OAuth2 by POST.
import { UpstreamError } from '../registry/upstream-error.ts'
import type { Answer } from './answer.ts'
import { basicAuthorization, type Credentials } from './credentials.ts'
import { answerError } from './refusal.ts'
import type { Token } from './token-cache.ts'
import type { OutgoingRequest, Transport } from './transport.ts'

export interface TokenRequest {
  /** Checked before: the credentials may go there. */
  readonly realm: URL
  readonly service: string | undefined
  readonly scope: string
  readonly credentials: Exclude<Credentials, { kind: 'registry-token' }>
}

const clientId = 'entrepot'
const maxAnswer = 1024 * 1024
/** Seconds. Shorter lives are raised to it, as all clients do (distribution: token specification, `expires_in`). */
const shortestLife = 60
const longestLife = 24 * 3600

/**
 * Fetches a token, in bounded time, for all who wait for it: no caller's signal ends it. Redirects are not followed.
 * @throws UpstreamError
 */
export async function fetchToken(transport: Transport, request: TokenRequest): Promise<Token> {
  const { connect, firstByte, idle } = transport.timeouts
  const signal = AbortSignal.timeout(connect + firstByte + idle)
  try {
    return await ask(transport, request, signal)
  } catch (error) {
    if (!signal.aborted) throw error
    const { host } = request.realm
    throw new UpstreamError('timeout', host, `the token server ${host} did not answer in time`, { cause: error })
  }
}

async function ask(transport: Transport, request: TokenRequest, signal: AbortSignal): Promise<Token> {
  const { credentials } = request
  if (credentials.kind === 'identity-token') {
    const form = { grant_type: 'refresh_token', refresh_token: credentials.token }
    return await read(await transport.send({ ...postForm(request, form), signal }), request)
  }
  const answer = await transport.send({ ...getForm(request), signal })
  const mayNotGet = answer.status === 404 || answer.status === 405
  if (!mayNotGet || credentials.kind !== 'password') return await read(answer, request)
  await answer.discard()
  const { username, password } = credentials
  const form = { grant_type: 'password', username, password }
  return await read(await transport.send({ ...postForm(request, form), signal }), request)
}

function getForm({ realm, service, scope, credentials }: TokenRequest): OutgoingRequest {
  const url = new URL(realm)
  if (service !== undefined) url.searchParams.append('service', service)
  url.searchParams.append('scope', scope)
  const headers: Record<string, string> = { accept: 'application/json' }
  if (credentials.kind === 'password') {
    url.searchParams.append('account', credentials.username)
    headers['authorization'] = basicAuthorization(credentials.username, credentials.password)
  }
  return { method: 'GET', url, headers }
}

function postForm(request: TokenRequest, grant: Readonly<Record<string, string>>): OutgoingRequest {
  const form = new URLSearchParams({ ...grant, client_id: clientId, scope: request.scope })
  if (request.service !== undefined) form.append('service', request.service)
  return {
    method: 'POST',
    url: request.realm,
    headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
  }
}

async function read(answer: Answer, { credentials }: TokenRequest): Promise<Token> {
  const { host, status } = answer
  if (status === 200) return parseToken(await answer.collect(maxAnswer), host)
  const error = await answerError(answer, 'the token server')
  // 403: they are good, but not for this. 400: as refresh tokens are refused that have expired (RFC 6749 §5.2).
  const isRefused =
    status === 401 ? credentials.kind !== 'anonymous' : status === 400 && credentials.kind === 'identity-token'
  if (!isRefused) throw error
  throw new UpstreamError('credentials-refused', host, error.message, { status })
}

/** No part of the answer goes into an error: it may hold a token. */
function parseToken(bytes: Uint8Array, host: string): Token {
  let answer: unknown
  try {
    answer = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    answer = undefined
  }
  if (typeof answer !== 'object' || answer === null) {
    throw new UpstreamError('invalid', host, `the token server ${host} did not answer with a JSON object`)
  }
  const value = ('token' in answer ? answer.token : '') || ('access_token' in answer ? answer.access_token : '')
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new UpstreamError('invalid', host, `the token server ${host} answered without a token`)
  }
  const life = 'expires_in' in answer ? Number(answer.expires_in) : shortestLife
  const seconds = Number.isFinite(life) ? Math.min(longestLife, Math.max(shortestLife, life)) : shortestLife
  return { value, lifetime: seconds * 1000 }
}
