// What is known of content without asking storage for it.
import type { Descriptor } from '../oci/descriptor.ts'
import { isDigest, type Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { Facts, type FactStore } from './facts.ts'

/** Whose fact it is: of the stored bytes, or of what one repository shows as a blob or as a manifest. */
export type DescriptorScope = 'content' | { readonly repository: RepositoryName; readonly kind: 'blobs' | 'manifests' }

/**
 * Facts about digests. A fact in a repository's scope says that the digest may be seen there; scopes share nothing, so
 * what is cleared in one repository stays cleared, whatever others learn (CVE-2026-35172). Nothing here throws: a fact that
 * cannot be had is one that is not known, and storage is asked.
 */
export interface DescriptorCache {
  find(scope: DescriptorScope, digest: Digest): Promise<Descriptor | undefined>
  set(scope: DescriptorScope, digest: Digest, descriptor: Descriptor): Promise<void>
  clear(scope: DescriptorScope, digest: Digest): Promise<void>
}

export function descriptorCache(store: FactStore): DescriptorCache {
  return new DescriptorFacts(store)
}

class DescriptorFacts implements DescriptorCache {
  readonly #facts: Facts<Descriptor>

  constructor(store: FactStore) {
    this.#facts = new Facts(store, 'descriptor', parseDescriptor)
  }

  async find(scope: DescriptorScope, digest: Digest): Promise<Descriptor | undefined> {
    return await this.#facts.find(keyOf(scope, digest))
  }

  async set(scope: DescriptorScope, digest: Digest, descriptor: Descriptor): Promise<void> {
    await this.#facts.set(keyOf(scope, digest), descriptor)
  }

  async clear(scope: DescriptorScope, digest: Digest): Promise<void> {
    await this.#facts.delete(keyOf(scope, digest))
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
