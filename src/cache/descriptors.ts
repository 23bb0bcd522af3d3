// What is known of content without asking storage for it.
import type { Descriptor } from '../oci/descriptor.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { Facts, type FactStore } from './facts.ts'

/** Whose fact it is: of the stored bytes, or of what one repository shows as a blob or as a manifest. */
export type DescriptorScope = 'content' | { readonly repository: RepositoryName; readonly kind: 'blobs' | 'manifests' }

export interface DescriptorCounts {
  readonly requests: number
  readonly hits: number
  /** Calls that the store behind it could not answer, whatever they were for. */
  readonly errors: number
}

/**
 * Facts about digests. A fact in a repository's scope says that the digest may be seen there; scopes share nothing, so
 * what is cleared in one repository stays cleared, whatever others learn (CVE-2026-35172). Nothing here throws: a fact that
 * cannot be had is one that is not known, and storage is asked.
 */
export interface DescriptorCache {
  find(scope: DescriptorScope, digest: Digest): Promise<Descriptor | undefined>
  set(scope: DescriptorScope, digest: Digest, descriptor: Descriptor): Promise<void>
  clear(scope: DescriptorScope, digest: Digest): Promise<void>
  /** Since the start. */
  counts(): DescriptorCounts
}

export function descriptorCache(store: FactStore): DescriptorCache {
  return new DescriptorFacts(store)
}

class DescriptorFacts implements DescriptorCache {
  readonly #store: FactStore
  readonly #facts: Facts<Descriptor>
  #requests = 0
  #hits = 0

  constructor(store: FactStore) {
    this.#store = store
    this.#facts = new Facts(store, 'descriptor', parseDescriptor)
  }

  async find(scope: DescriptorScope, digest: Digest): Promise<Descriptor | undefined> {
    this.#requests++
    const found = await this.#facts.find(keyOf(scope, digest))
    if (found !== undefined) this.#hits++
    return found
  }

  async set(scope: DescriptorScope, digest: Digest, descriptor: Descriptor): Promise<void> {
    await this.#facts.set(keyOf(scope, digest), descriptor)
  }

  async clear(scope: DescriptorScope, digest: Digest): Promise<void> {
    await this.#facts.delete(keyOf(scope, digest))
  }

  counts(): DescriptorCounts {
    return { requests: this.#requests, hits: this.#hits, errors: this.#store.errors }
  }
}

/** A repository's name holds no `@`, so no two scopes share a key. */
function keyOf(scope: DescriptorScope, digest: Digest): string {
  return scope === 'content' ? `@${digest}` : `${scope.repository}@${scope.kind}@${digest}`
}

function parseDescriptor(value: unknown): Descriptor | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  if (!('mediaType' in value && 'digest' in value && 'size' in value)) return undefined
  const { mediaType, digest, size } = value
  if (typeof mediaType !== 'string' || typeof digest !== 'string' || typeof size !== 'number') return undefined
  return isDigest(digest) && Number.isSafeInteger(size) && size >= 0 ? { mediaType, digest, size } : undefined
}
