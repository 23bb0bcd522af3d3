// Names of things: repositories, tags, and references that are either a tag or a digest (OCI distribution-spec, «Pulling
// manifests»). Nothing is decoded or normalised: a text matches the grammar as it stands, or it is refused.
import type { Digest } from './digest.ts'

/** `[a-z0-9]+` runs joined by `.`, `_`, `__` or dashes, components joined by `/`; at most 255 characters. */
export type RepositoryName = string & { readonly __repositoryName: unique symbol }

/** `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` */
export type Tag = string & { readonly __tag: unique symbol }

export type Reference =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'digest'; readonly digest: Digest }

export const maxRepositoryNameLength = 255

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const repositoryNamePattern = new RegExp(`^${component}(?:/${component})*$`)
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/

export class NameError extends Error {
  override readonly name = 'NameError'
}

export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= maxRepositoryNameLength && repositoryNamePattern.test(text)
}

/** @throws NameError */
export function parseRepositoryName(text: string): RepositoryName {
  if (!isRepositoryName(text)) throw new NameError(`not a repository name: ${text.slice(0, 300)}`)
  return text
}

export function isTag(text: string): text is Tag {
  return tagPattern.test(text)
}

/** @throws NameError */
export function parseTag(text: string): Tag {
  if (!isTag(text)) throw new NameError(`not a tag: ${text.slice(0, 200)}`)
  return text
}
