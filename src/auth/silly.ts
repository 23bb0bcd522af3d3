// Distribution's controller for tests: whoever sends anything as credentials may do anything.
import type { AccessFacts, AccessRecord } from '../registry/access.ts'
import { bearerChallenge } from './challenge.ts'
import type { Controller, Unverified, Verified } from './controller.ts'

export interface SillyOptions {
  readonly realm: string
  readonly service: string
}

export class SillyController implements Controller {
  readonly #options: SillyOptions

  constructor(options: SillyOptions) {
    this.#options = options
  }

  async verify({ authorization = '' }: AccessFacts): Promise<Verified | Unverified> {
    return authorization === '' ? { reason: 'no credentials' } : { user: 'silly', claims: {} }
  }

  challenge(_facts: AccessFacts, records: readonly AccessRecord[]): string {
    return bearerChallenge({ ...this.#options, records })
  }
}
