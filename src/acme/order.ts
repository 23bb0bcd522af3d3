// Asks an authority for a certificate, by acme-client, which is loaded only then (RFC 8555).
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Identity } from '../http/issued-identity.ts'
import { Transport, UnreachableError, type Answer, type Outgoing, type TransportOptions } from './transport.ts'

export interface CertificateRequest {
  readonly directory: string
  /** The account's key, in PEM; the account is made where there is none. */
  readonly account: string
  readonly email: string | undefined
  /** One certificate is for all of them. */
  readonly hosts: readonly string[]
  /** Who looks for a proof at `host` is to see `proof`, until it is `undefined` again. */
  readonly prove: (host: string, proof: Identity | undefined) => void
  readonly signal: AbortSignal
}

/** @throws UnreachableError where the authority has heard nothing of it; else what it has against it */
export type Order = (request: CertificateRequest) => Promise<Identity>

type Send = (outgoing: Outgoing) => Promise<Answer>

/** Whose requests the library's are: it has one way out for all who use it. */
const sending = new AsyncLocalStorage<Send>()

/** Where the authority takes its time: milliseconds until it is asked again, and how often. */
const polling = { backoffMin: 1000, backoffMax: 15_000, backoffAttempts: 15 }

export function orderBy(options: TransportOptions): Order {
  return async (request) => {
    await using transport = new Transport(options)
    let hasBegun = false
    const send: Send = async (outgoing) => {
      const answer = await transport.send(outgoing, request.signal)
      hasBegun ||= outgoing.method === 'POST' // it knows us now, and may count what comes
      return answer
    }
    try {
      return await sending.run(send, async () => await order(request))
    } catch (cause) {
      if (!hasBegun || !(cause instanceof UnreachableError)) throw cause
      throw new Error(`the authority was lost on the way: ${cause.message}`, { cause })
    }
  }
}

async function order({ directory, account, email, hosts, prove }: CertificateRequest): Promise<Identity> {
  const { Client, axios, crypto } = await import('acme-client')
  axios.defaults.adapter = async (config) => {
    const { status, headers, body } = await answerTo(config, config.headers.toJSON())
    return { status, statusText: '', headers, data: body, config }
  }
  const key = await crypto.createPrivateEcdsaKey()
  const [, csr] = await crypto.createCsr({ altNames: [...hosts] }, key)
  const client = new Client({ directoryUrl: directory, accountKey: account, ...polling })
  const certificate = await client.auto({
    csr,
    ...(email === undefined ? {} : { email }),
    termsOfServiceAgreed: true, // as with distribution, by configuring it
    challengePriority: ['tls-alpn-01'],
    skipChallengeVerification: true, // from here, our own name may lead elsewhere
    async challengeCreateFn(authorization, challenge, keyAuthorization) {
      const host = authorization.identifier.value
      const type: string = challenge.type // the library's own type knows less than it does
      if (type !== 'tls-alpn-01') throw new Error(`the authority takes no proof by TLS-ALPN-01 for ${host}`)
      const proofKey = await crypto.createPrivateEcdsaKey()
      const [, proof] = await crypto.createAlpnCertificate(authorization, keyAuthorization, proofKey)
      prove(host, { certificate: proof.toString(), key: proofKey.toString() })
    },
    challengeRemoveFn: async (authorization) => prove(authorization.identifier.value, undefined),
  })
  return { certificate, key: key.toString() }
}

/** The library's own way out would ask again by itself, whenever it is told to come back. */
async function answerTo(
  { url = '', method = 'get', data }: { url?: string; method?: string; data?: string },
  headers: Outgoing['headers'],
): Promise<Answer> {
  const send = sending.getStore()
  if (send === undefined) throw new Error('a request of no order')
  return await send({ url, method: method.toUpperCase(), headers, body: data })
}
