// What is told of, and the words it is told in: distribution's envelope, and the same form for what becomes of the cache.
import { randomUUID } from 'node:crypto'
import type { Descriptor } from '../oci/descriptor.ts'
import type { RequestFacts } from '../registry/call.ts'
import type { CacheNews } from '../registry/cache-log.ts'

/** Of the envelope: that of distribution 3, which 2.x calls v1; and our own, for events that distribution does not have. */
export const eventMediaTypes = {
  registry: 'application/vnd.docker.distribution.events.v2+json',
  cache: 'application/vnd.entrepot.cache.events.v1+json',
} as const

export type EventKind = keyof typeof eventMediaTypes

/** The keys are those of the envelope. What is `undefined` is left out, as in distribution's 2.x. */
export interface Target extends Partial<Descriptor> {
  /** The same as `size`, in the words of distribution's first versions. */
  readonly length?: number | undefined
  readonly repository: string
  readonly fromRepository?: string | undefined
  readonly url?: string | undefined
  readonly tag?: string | undefined
  readonly references?: readonly object[] | undefined
  /** The host of the upstream; in `cache` events only. */
  readonly upstream?: string | undefined
}

export type Event =
  | {
      readonly kind: 'registry'
      readonly action: 'pull' | 'push' | 'mount' | 'delete'
      readonly target: Target
      readonly request: RequestFacts
      readonly user: string | undefined
    }
  | { readonly kind: 'cache'; readonly action: CacheNews['action']; readonly target: Target }

/** Which of several servers an event comes from. */
export interface Source {
  /** `host:port` */
  readonly addr: string
  /** A UUID of this process. */
  readonly instanceID: string
}

/** An envelope of one event. */
export function envelopeOf(event: Event, source: Source, now: Date): string {
  const { action, target } = event
  const common = { id: randomUUID(), timestamp: now.toISOString(), action, target }
  const told = event.kind === 'cache' ? { ...common, source } : { ...common, ...askedBy(event), source }
  return JSON.stringify({ events: [told] }, undefined, 3)
}

function askedBy({ request, user }: Extract<Event, { kind: 'registry' }>): object {
  const { id, address, host, method, userAgent } = request
  return {
    request: { id, addr: address || undefined, host, method, useragent: userAgent ?? '' },
    actor: { name: user },
  }
}
