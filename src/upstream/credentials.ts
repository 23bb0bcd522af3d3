// What we can show a registry, and where it comes from.
import type { RepositoryName } from '../oci/reference.ts'

export type Credentials =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A refresh token for the token server: docker's `identitytoken`, a helper's user name `<token>`. */
  | { readonly kind: 'identity-token'; readonly token: string }
  /** A bearer token that is shown to the registry as it is: docker's `registrytoken`. */
  | { readonly kind: 'registry-token'; readonly token: string }

/** One upstream's credentials. May be asked before every request: what is costly, it remembers. */
export interface CredentialSource {
  /** @throws CredentialsError where they cannot be had at all; having none is `anonymous` */
  get(repository: RepositoryName): Promise<Credentials>
  /** Says that these were not accepted: a source that remembers them forgets them. */
  refused(credentials: Credentials): void
}

/** `message` is a sentence for an operator; like its cause, it never holds a part of the credentials. */
export class CredentialsError extends Error {
  override readonly name = 'CredentialsError'
}

export const anonymous: Credentials = { kind: 'anonymous' }

export function anonymousAccess(): CredentialSource {
  return fixedCredentials(anonymous)
}

export function fixedCredentials(credentials: Credentials): CredentialSource {
  return {
    async get(): Promise<Credentials> {
      return credentials
    },
    refused(): void {},
  }
}

/** What the configuration says, which may be read again. */
export class ConfiguredCredentials implements CredentialSource {
  #credentials: Credentials

  constructor(credentials: Credentials) {
    this.#credentials = credentials
  }

  /** For what is asked from now on; tokens that the old ones were given for are used up. */
  replace(credentials: Credentials): void {
    this.#credentials = credentials
  }

  async get(): Promise<Credentials> {
    return this.#credentials
  }

  refused(): void {}
}

export function sameCredentials(a: Credentials, b: Credentials): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** RFC 7617, with UTF-8. */
export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`
}
