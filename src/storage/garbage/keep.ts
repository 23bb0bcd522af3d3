// Which manifests of a repository stay: roots, and whatever hangs together with them.
import type { Digest } from '../../oci/digest.ts'
import type { StoredDocument } from './document.ts'

export interface StoredLink {
  /** The sha256 under which the bytes are stored. */
  readonly target: Digest
  readonly modified: number
}

/**
 * A manifest that stays keeps its children, the subject it is about, and the referrers that are about it, as far as they
 * are manifests of this repository.
 * @returns the sha256 of those that stay
 */
export function keepManifests(
  revisions: ReadonlyMap<Digest, StoredLink>,
  documents: ReadonlyMap<Digest, StoredDocument>,
  isRoot: (digest: Digest, link: StoredLink) => boolean,
): Set<Digest> {
  const stored = new Set([...revisions.values()].map(({ target }) => target))
  const targetOf = (digest: Digest): Digest => revisions.get(digest)?.target ?? digest
  const referrers = new Map<Digest, Digest[]>()
  for (const [target, { subject }] of documents) {
    if (subject === undefined) continue
    const about = targetOf(subject)
    const others = referrers.get(about)
    if (others === undefined) referrers.set(about, [target])
    else others.push(target)
  }
  const kept = new Set<Digest>()
  const waiting = [...revisions].filter(([digest, link]) => isRoot(digest, link)).map(([, { target }]) => target)
  for (let target = waiting.pop(); target !== undefined; target = waiting.pop()) {
    if (kept.has(target)) continue
    kept.add(target)
    const { names = [], subject } = documents.get(target) ?? {}
    const about = subject === undefined ? [] : [subject]
    for (const other of [...names, ...about].map(targetOf)) if (stored.has(other)) waiting.push(other)
    for (const referrer of referrers.get(target) ?? []) waiting.push(referrer)
  }
  return kept
}
