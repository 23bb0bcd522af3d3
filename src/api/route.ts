// Which resource a raw path names: a pure parser, anchored at the path's right end, because a repository's name may hold
// `blobs`, `manifests`, `tags` and `referrers` as components (distribution-spec, «Endpoints»). Nothing is decoded or normalised.
import { isDigest, type Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { isRepositoryName, isTag, type Reference, type RepositoryName } from '../oci/reference.ts'

export type Route =
  | { readonly kind: 'root' }
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly name: RepositoryName }
  | { readonly kind: 'manifest'; readonly name: RepositoryName; readonly reference: Reference }
  | { readonly kind: 'referrers'; readonly name: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'blob'; readonly name: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly name: RepositoryName }
  | { readonly kind: 'upload'; readonly name: RepositoryName; readonly id: string }

/**
 * `prefix` begins and ends with `/`.
 * @throws RegistryError ROUTE_UNKNOWN, NAME_INVALID, TAG_INVALID, DIGEST_INVALID
 */
export function parseRoute(path: string, prefix: string): Route {
  if (path === '/') return { kind: 'root' }
  if (!path.startsWith(prefix)) throw new RegistryError('ROUTE_UNKNOWN')
  const parts = path.slice(prefix.length).split('/')
  if (parts[0] !== 'v2') throw new RegistryError('ROUTE_UNKNOWN')
  const rest = parts.slice(1)
  if (rest.length === 0 || (rest.length === 1 && rest[0] === '')) return { kind: 'base' }
  if (rest.length === 1 && rest[0] === '_catalog') return { kind: 'catalog' }
  return parseRepositoryRoute(rest)
}

function parseRepositoryRoute(parts: readonly string[]): Route {
  const [last = '', second, third] = parts.toReversed()
  if (second === 'manifests') return { kind: 'manifest', name: nameOf(parts, 2), reference: referenceOf(last) }
  if (second === 'referrers') return { kind: 'referrers', name: nameOf(parts, 2), digest: digestOf(last) }
  if (second === 'tags' && last === 'list') return { kind: 'tags', name: nameOf(parts, 2) }
  if (third === 'blobs' && second === 'uploads') {
    const name = nameOf(parts, 3)
    return last === '' ? { kind: 'uploads', name } : { kind: 'upload', name, id: last }
  }
  if (second === 'blobs') {
    const name = nameOf(parts, 2)
    return last === 'uploads' ? { kind: 'uploads', name } : { kind: 'blob', name, digest: digestOf(last) }
  }
  throw new RegistryError('ROUTE_UNKNOWN')
}

function nameOf(parts: readonly string[], tail: number): RepositoryName {
  const name = parts.slice(0, -tail).join('/')
  if (!isRepositoryName(name)) throw new RegistryError('NAME_INVALID', { name: name.slice(0, 300) })
  return name
}

function digestOf(text: string): Digest {
  if (!isDigest(text)) throw new RegistryError('DIGEST_INVALID', { digest: text.slice(0, 200) })
  return text
}

function referenceOf(text: string): Reference {
  if (isDigest(text)) return { kind: 'digest', digest: text }
  if (text.includes(':')) throw new RegistryError('DIGEST_INVALID', { digest: text.slice(0, 200) })
  if (!isTag(text)) throw new RegistryError('TAG_INVALID', { tag: text.slice(0, 200) })
  return { kind: 'tag', tag: text }
}
