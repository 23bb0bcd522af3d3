// What an operator wants to keep, whatever room it takes.
import { globPattern } from '../oci/glob.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'

/** Globs of repositories, and of `repository:tag`; a repository's name holds no colon. */
export class Pins {
  readonly #repositories: readonly RegExp[]
  readonly #tags: readonly { readonly repository: RegExp; readonly tag: RegExp }[]

  constructor(globs: readonly string[]) {
    const parts = globs.map((glob) => glob.split(':', 2))
    this.#repositories = parts.filter(({ length }) => length === 1).map(([name = '']) => globPattern(name))
    this.#tags = parts
      .filter(({ length }) => length === 2)
      .map(([name = '', tag = '']) => ({ repository: globPattern(name), tag: globPattern(tag) }))
  }

  hasRepository(name: RepositoryName): boolean {
    return this.#repositories.some((pattern) => pattern.test(name))
  }

  /** Whether any tag of the repository may be pinned. */
  hasTagsIn(name: RepositoryName): boolean {
    return this.#tags.some(({ repository }) => repository.test(name))
  }

  hasTag(name: RepositoryName, tag: Tag): boolean {
    return this.#tags.some((pin) => pin.repository.test(name) && pin.tag.test(tag))
  }
}
