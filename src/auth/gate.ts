// The whole decision: who needs no credentials, whose credentials are good, and what our own policy leaves of their rights.
import { globPattern } from '../oci/glob.ts'
import type { AccessAction, AccessController, AccessDecision, AccessFacts, AccessRecord } from '../registry/access.ts'
import type { Controller, Verified } from './controller.ts'
import { Networks } from './networks.ts'

/** What clients may pull of whom nobody asks who they are. */
export interface AnonymousRule {
  /** Globs of repositories, by their names in our storage. */
  readonly repositories: readonly string[]
  /** Where the client must be; `undefined`: anywhere. */
  readonly networks: readonly string[] | undefined
}

/** What some of those whom the controller lets in may do. */
export interface PolicyRule {
  /** `*`: everybody; `undefined`: the claims decide. */
  readonly users: readonly string[] | undefined
  /** Name of a claim → the values of which the client's token must have one. */
  readonly claims: Readonly<Record<string, readonly string[]>>
  readonly actions: readonly ('pull' | 'push' | 'delete' | 'catalog' | '*')[]
  /** Globs of repositories, by their names in our storage. */
  readonly repositories: readonly string[]
}

export interface GateOptions {
  readonly controller: Controller
  readonly anonymous: readonly AnonymousRule[]
  /** `undefined`: what the controller grants is granted. Else what no rule grants is not. */
  readonly policy: readonly PolicyRule[] | undefined
}

interface Places {
  readonly patterns: readonly RegExp[]
}

export class Gate implements AccessController {
  readonly #controller: Controller
  readonly #anonymous: readonly (Places & { readonly networks: Networks | undefined })[]
  readonly #policy: readonly (Places & PolicyRule)[] | undefined

  constructor({ controller, anonymous, policy }: GateOptions) {
    this.#controller = controller
    this.#anonymous = anonymous.map(({ repositories, networks }) => ({
      patterns: repositories.map(globPattern),
      networks: networks === undefined ? undefined : new Networks(networks),
    }))
    this.#policy = policy?.map((rule) => ({ ...rule, patterns: rule.repositories.map(globPattern) }))
  }

  async authorize(facts: AccessFacts, records: readonly AccessRecord[]): Promise<AccessDecision> {
    if (this.#isForAll(facts, records)) {
      // By this answer clients find out whether to send credentials: some look at the status, some at the header.
      const challenge = records.length === 0 ? this.#controller.challenge(facts, records) : undefined
      return { isGranted: true, user: undefined, challenge }
    }
    const verdict = await this.#controller.verify(facts, records)
    if ('reason' in verdict) {
      const { reason, error } = verdict
      return { isGranted: false, reason, challenge: this.#controller.challenge(facts, records, error) }
    }
    if (!records.every((record) => this.#isAllowed(verdict, record))) {
      const challenge = this.#controller.challenge(facts, records, 'insufficient_scope')
      return { isGranted: false, reason: 'not allowed by policy', challenge }
    }
    return { isGranted: true, user: verdict.user === '' ? undefined : verdict.user }
  }

  /**
   * Whatever credentials come along are not looked at then: a client that is pointed here as a mirror sends those of the
   * registry that it means. Where nothing is asked for but to come in, they are: that is how people log in.
   */
  #isForAll({ address, authorization = '' }: AccessFacts, records: readonly AccessRecord[]): boolean {
    if (this.#anonymous.length === 0) return false
    const rules = this.#anonymous.filter(
      ({ networks }) => networks === undefined || (address !== undefined && networks.has(address)),
    )
    if (records.length === 0) return authorization === '' && rules.length > 0
    return records.every((record) => record.action === 'pull' && rules.some((rule) => covers(rule, record)))
  }

  #isAllowed(client: Verified, record: AccessRecord): boolean {
    if (this.#policy === undefined) return true
    return this.#policy.some((rule) => {
      if (!isMeant(rule, client) || !allows(rule, record.action, record.type)) return false
      return record.type === 'registry' || covers(rule, record)
    })
  }
}

function covers({ patterns }: Places, { type, place }: AccessRecord): boolean {
  return type === 'repository' && place !== undefined && patterns.some((pattern) => pattern.test(place))
}

function isMeant({ users, claims }: PolicyRule, client: Verified): boolean {
  if (users !== undefined && !users.includes('*') && !users.includes(client.user)) return false
  return Object.entries(claims).every(([name, wanted]) => {
    const had = Object.hasOwn(client.claims, name) ? client.claims[name] : undefined
    return (Array.isArray(had) ? had : [had]).some((one) => typeof one === 'string' && wanted.includes(one))
  })
}

function allows({ actions }: PolicyRule, action: AccessAction, type: AccessRecord['type']): boolean {
  if (actions.includes('*')) return true
  return type === 'registry' ? actions.includes('catalog') : action !== '*' && actions.includes(action)
}
