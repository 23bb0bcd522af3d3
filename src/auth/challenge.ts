// `WWW-Authenticate` (RFC 9110 §11.6.1, and distribution's token protocol): what a client should come back with.
import type { AccessRecord } from '../registry/access.ts'
import type { ChallengeError } from './controller.ts'

export function basicChallenge(realm: string): string {
  return `Basic realm=${quoted(realm)}`
}

export interface BearerChallenge {
  readonly realm: string
  readonly service: string
  readonly records: readonly AccessRecord[]
  readonly error?: ChallengeError | undefined
}

export function bearerChallenge({ realm, service, records, error }: BearerChallenge): string {
  const parts = [`realm=${quoted(realm)}`, `service=${quoted(service)}`]
  if (records.length > 0) parts.push(`scope=${quoted(scopeOf(records))}`)
  if (error !== undefined) parts.push(`error=${quoted(error)}`)
  return `Bearer ${parts.join(',')}`
}

/** `repository:a/b:pull,push repository:c:pull` */
function scopeOf(records: readonly AccessRecord[]): string {
  const scopes = new Map<string, string[]>()
  for (const { type, name, action } of records) {
    const resource = `${type}:${name}`
    scopes.set(resource, [...(scopes.get(resource) ?? []), action])
  }
  return [...scopes].map(([resource, actions]) => `${resource}:${actions.join(',')}`).join(' ')
}

/** RFC 9110 §5.6.4. Beyond ASCII no two clients read the same. */
function quoted(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`
}
