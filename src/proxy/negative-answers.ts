// What an upstream has just said it does not have, or does not give us: whoever asks again at once hears the same.
import { recent } from '../cache/recent.ts'
import { isAbsence, RegistryError } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'

/** The least used one that is forgotten costs a question. */
const maxAnswers = 10_000

export interface NegativeAnswersOptions {
  /** Milliseconds for which an answer is remembered; 0: not at all. */
  readonly lifetime: number
  readonly now?: (() => number) | undefined
}

interface NegativeAnswer {
  readonly repository: RepositoryName
  readonly error: RegistryError
  /** Milliseconds since 1970. */
  readonly at: number
}

/** Those of every repository, by the names that they have here. */
export class NegativeAnswers {
  /** May be changed at any time. */
  lifetime: number
  readonly #now: () => number
  readonly #keys = new Map<RepositoryName, Set<string>>()
  readonly #answers = recent<string, NegativeAnswer>(maxAnswers, {
    dispose: ({ repository }, key, reason) => {
      if (reason !== 'set') this.#dropKey(repository, key)
    },
  })

  constructor({ lifetime, now = Date.now }: NegativeAnswersOptions) {
    this.lifetime = lifetime
    this.#now = now
  }

  /** `what`: `blobs/<digest>`, `manifests/<reference>`. */
  find(repository: RepositoryName, what: string): RegistryError | undefined {
    const key = `${repository}/${what}`
    const answer = this.#answers.get(key)
    if (answer === undefined) return undefined
    const age = this.#now() - answer.at
    if (age >= 0 && age < this.lifetime) return answer.error
    this.#answers.delete(key)
    return undefined
  }

  /** Takes note of what a client was told, if it is «there is no such thing», or «you may not have it». */
  add(repository: RepositoryName, what: string, error: unknown): void {
    if (this.lifetime === 0 || !(error instanceof RegistryError)) return
    if (!isAbsence(error) && error.code !== 'DENIED') return
    const key = `${repository}/${what}`
    this.#answers.set(key, { repository, error, at: this.#now() })
    const keys = this.#keys.get(repository)
    if (keys === undefined) this.#keys.set(repository, new Set([key]))
    else keys.add(key)
  }

  /** A repository of which something has changed has another answer to everything. */
  clear(repository: RepositoryName): void {
    for (const key of this.#keys.get(repository) ?? []) this.#answers.delete(key)
  }

  #dropKey(repository: RepositoryName, key: string): void {
    const keys = this.#keys.get(repository)
    keys?.delete(key)
    if (keys?.size === 0) this.#keys.delete(repository)
  }
}
