// `redis`, in the form of distribution 2 (`addr`, `pool`) and in that of distribution 3 (`addrs`, go-redis options).
import { findAddress, type Address } from './address.ts'
import { ConfigError } from './config-error.ts'
import { count, flag, goDuration, integer, leaf, text } from './leaf.ts'
import { isEmpty, later, list, section, type ResolveContext, type Schema } from './section.ts'

export interface RedisConfig {
  readonly host: string
  readonly port: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
  readonly tls: boolean
  readonly dialTimeout: number
  /** How long an answer is waited for. */
  readonly patience: number
}

interface TlsInput {
  readonly enabled?: boolean | undefined
  readonly certificate?: string | undefined
  readonly key?: string | undefined
  readonly rootcas?: string[] | undefined
  readonly clientcas?: string[] | undefined
}

export interface RedisInput {
  readonly addr?: Address | undefined
  readonly addrs?: Address[] | undefined
  readonly mastername?: string | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly db?: number | undefined
  readonly dialtimeout?: number | undefined
  readonly readtimeout?: number | undefined
  readonly tls?: TlsInput | undefined
}

const defaultPort = 6379

/** Milliseconds. Requests wait for what redis says: go-redis's 3 s would cost more than the facts save. */
const defaultPatience = 50
const longestPatience = 1000

const address = leaf('the address of a redis, such as localhost:6379', (value) => {
  const found = findAddress(value, defaultPort)
  return found?.host === '' ? undefined : found
})

export const redisSchema: Schema<RedisInput> = section({
  addr: address,
  addrs: list(address),
  username: text,
  password: text,
  db: count,
  dialtimeout: goDuration,
  readtimeout: goDuration,
  writetimeout: later(goDuration),
  tls: section({
    enabled: flag,
    certificate: later(text),
    key: later(text),
    rootcas: later(list(text)),
    clientcas: later(list(text)),
  }),
  pool: later(section({ maxidle: integer(), maxactive: integer(), idletimeout: goDuration })),
  mastername: text,
  sentinelusername: later(text),
  sentinelpassword: later(text),
  clientname: later(text),
  protocol: later(integer()),
  maxretries: later(integer()),
  minretrybackoff: later(goDuration),
  maxretrybackoff: later(goDuration),
  contexttimeoutenabled: later(flag),
  poolfifo: later(flag),
  poolsize: later(integer()),
  pooltimeout: later(goDuration),
  minidleconns: later(integer()),
  maxidleconns: later(integer()),
  maxactiveconns: later(integer()),
  connmaxidletime: later(goDuration),
  connmaxlifetime: later(goDuration),
  maxredirects: later(integer()),
  readonly: later(flag),
  routebylatency: later(flag),
  routerandomly: later(flag),
})

/** @throws ConfigError where a cluster or sentinels are named: one of their addresses alone is not that redis */
export function resolveRedis(input: RedisInput, context: ResolveContext): RedisConfig | undefined {
  if (input.mastername !== undefined) {
    throw new ConfigError('redis.mastername: sentinels are not supported yet, expected the address of one redis')
  }
  const addresses = [...(input.addr === undefined ? [] : [input.addr]), ...(input.addrs ?? [])]
  const [first, another] = addresses
  if (another !== undefined) {
    throw new ConfigError(
      `redis.addrs: found ${addresses.length} addresses, expected one: clusters are not supported yet`,
    )
  }
  if (first === undefined) {
    if (!isEmpty(input)) context.warn('redis has neither addr nor addrs, so no redis is used')
    return undefined
  }
  return {
    host: first.host,
    port: first.port,
    username: input.username,
    password: input.password,
    db: input.db ?? 0,
    tls: usesTls(input.tls ?? {}),
    // As in go-redis, 0 stands for the default too.
    dialTimeout: input.dialtimeout || 5000,
    patience: Math.min(input.readtimeout || defaultPatience, longestPatience),
  }
}

/** Distribution 2 has a switch; in distribution 3 a certificate is one. */
function usesTls(tls: TlsInput): boolean {
  return tls.enabled ?? (tls.certificate !== undefined || (tls.rootcas ?? tls.clientcas ?? []).length > 0)
}
