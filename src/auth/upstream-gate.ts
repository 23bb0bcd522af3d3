// The decision where an upstream's own word counts: copies of its repositories are for whoever it lets pull them. All else
// is for everybody, as without a gate.
import { isNoRepository } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { AccessController, AccessDecision, AccessFacts, AccessRecord } from '../registry/access.ts'
import type { CallerCredentials, ClaimedRepository } from '../registry/caller-rights.ts'
import { parseBasic } from './basic.ts'
import { basicChallenge } from './challenge.ts'
import { Verdicts, type VerdictsOptions } from './verdicts.ts'

export interface UpstreamGateOptions extends VerdictsOptions {
  /** @throws RegistryError where there can be no such repository */
  readonly find: (name: RepositoryName, namespace: string | undefined) => ClaimedRepository | undefined
  /** Whether every upstream is asked about its clients: then they are asked for credentials at the door. */
  readonly isForAll: boolean
}

/** What people are shown: the credentials are not for us. */
const challenge = basicChallenge('the upstream registry')

/** Longer ones are no token that a client was given for a registry. */
const maxToken = 8192

export class UpstreamGate implements AccessController {
  readonly #options: UpstreamGateOptions
  readonly #verdicts: Verdicts

  constructor(options: UpstreamGateOptions) {
    this.#options = options
    this.#verdicts = new Verdicts(options)
  }

  async authorize({ authorization = '' }: AccessFacts, records: readonly AccessRecord[]): Promise<AccessDecision> {
    if (records.length === 0) return this.#greet(authorization)
    const [first, ...others] = records.flatMap((record) => {
      const claim = this.#claimOf(record)
      return claim === undefined ? [] : [{ claim, object: record.object }]
    })
    if (first === undefined) return { isGranted: true, user: undefined }
    // Nobody has credentials that are good for two registries: they would be shown to one that they are not for.
    if (others.some(({ claim }) => claim.upstream !== first.claim.upstream)) return refused('for two upstreams at once')
    const credentials = parseCredentials(authorization)
    if (credentials === undefined) return refused('credentials that cannot be read')
    for (const { claim, object } of [first, ...others]) {
      if (!(await this.#verdicts.mayPull(claim, object, credentials))) return refused('not shown by the upstream')
    }
    return { isGranted: true, user: undefined }
  }

  /** By this answer clients find out whether to send credentials, which nobody can check before a repository is named. */
  #greet(authorization: string): AccessDecision {
    if (authorization !== '') return { isGranted: true, user: undefined }
    return this.#options.isForAll ? refused('no credentials') : { isGranted: true, user: undefined, challenge }
  }

  #claimOf({ asked, place }: AccessRecord): ClaimedRepository | undefined {
    if (asked === undefined || place === undefined) return undefined
    try {
      return this.#options.find(asked.name, asked.namespace)
    } catch (error) {
      if (isNoRepository(error)) return undefined
      throw error
    }
  }
}

function refused(reason: string): AccessDecision {
  return { isGranted: false, challenge, reason }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `undefined`: they are in no form that could be passed on as it is. */
function parseCredentials(authorization: string): CallerCredentials | undefined {
  if (authorization === '') return { kind: 'anonymous' }
  const [, token] = /^bearer +([\x21-\x7e]+)$/i.exec(authorization.slice(0, maxToken + 100)) ?? []
  if (token !== undefined) return token.length > maxToken ? undefined : { kind: 'registry-token', token }
  const basic = parseBasic(authorization)
  if (basic === undefined) return undefined
  try {
    const { user: username } = basic
    const password = utf8.decode(basic.password)
    // Clients that have none, and are challenged, send these.
    if (username === '' && password === '') return { kind: 'anonymous' }
    return username.includes('\ufffd') ? undefined : { kind: 'password', username, password }
  } catch {
    return undefined
  }
}
