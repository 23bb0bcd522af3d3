// `http`: where we listen and how we answer.
import { findAddress } from './address.ts'
import { ConfigError, misfit } from './config-error.ts'
import { headersOf, isHeaderName, isHeaderValue, isOfFraming } from './header-field.ts'
import { debugSchema, resolveDebug, type DebugConfig, type DebugInput } from './health-section.ts'
import { httpLimitsSchema, resolveHttpLimits, type HttpLimits, type HttpLimitsInput } from './http-limits.ts'
import { httpTlsSchema, resolveHttpTls, type HttpTlsConfig, type HttpTlsInput } from './http-tls.ts'
import { flag, goPatience, leaf, oneOf, plainUrl, text } from './leaf.ts'
import { resolvePath } from './named-file.ts'
import { findNetwork, type Network } from './network.ts'
import { later, list, section, type ResolveContext, type Schema } from './section.ts'

export interface HttpConfig {
  /** The address to listen on, without brackets; empty: every interface. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** The absolute path of a unix socket, which is listened on instead; `undefined`: none. */
  readonly socket: string | undefined
  /** Begins and ends with `/`. */
  readonly prefix: string
  /** How clients reach us, where it cannot be read off their requests. */
  readonly externalUrl: URL | undefined
  readonly secret: string | undefined
  readonly relativeUrls: boolean
  /** How long running requests may go on after a stop signal. */
  readonly drainTimeout: number
  /** Added to every reply. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  /** A second listener, for whoever operates us; `undefined`: there is none. */
  readonly debug: DebugConfig | undefined
  /** `undefined`: plain HTTP. */
  readonly tls: HttpTlsConfig | undefined
  readonly limits: HttpLimits
  /** Proxies in front whose word on the client counts; `unix`: whoever reaches us by a unix socket. */
  readonly trustedProxies: readonly (Network | 'unix')[]
  /** Whether the system is asked to send files by itself. */
  readonly sendfile: boolean
}

export interface HttpInput {
  readonly addr?: string | undefined
  readonly net?: 'tcp' | 'unix' | undefined
  readonly prefix?: string | undefined
  readonly host?: URL | undefined
  readonly secret?: string | undefined
  readonly relativeurls?: boolean | undefined
  readonly draintimeout?: number | undefined
  readonly headers?: Record<string, string[]> | undefined
  readonly debug?: DebugInput | undefined
  readonly tls?: HttpTlsInput | undefined
  readonly limits?: HttpLimitsInput | undefined
  readonly trustedproxies?: HttpConfig['trustedProxies'][number][] | undefined
  readonly sendfile?: boolean | undefined
}

/** distribution says that it ends with a slash, and does without. */
const prefix = leaf('a path that begins and ends with /', (value) => {
  const whole = value.endsWith('/') ? value : `${value}/`
  return /^\/(?:[\w.~!$&'()*+,;=:@%-]+\/)*$/.test(whole) ? whole : undefined
})

const headerValue = leaf('the text of a header, without line breaks', (value) =>
  isHeaderValue(value) ? value : undefined,
)

const proxyPlace = leaf('an address or a network such as 10.0.0.0/8, or unix', (value) =>
  value === 'unix' ? value : findNetwork(value),
)

export const httpSchema: Schema<HttpInput> = section({
  addr: text,
  net: oneOf(['tcp', 'unix']),
  prefix,
  host: plainUrl,
  secret: text,
  relativeurls: flag,
  draintimeout: goPatience,
  headers: headersOf(headerValue),
  tls: httpTlsSchema,
  limits: httpLimitsSchema,
  trustedproxies: list(proxyPlace),
  sendfile: flag,
  debug: debugSchema,
  // HTTP/1.1 is all we speak, so there is nothing to switch off.
  http2: section({ disabled: flag }),
  h2c: section({ enabled: later(flag) }),
})

const defaultDrainTimeout = 30_000

/** @throws ConfigError */
export function resolveHttp(input: HttpInput, context: ResolveContext): HttpConfig {
  const headers = input.headers ?? {}
  for (const name of Object.keys(headers)) {
    if (!isHeaderName(name)) {
      throw new ConfigError(`http.headers: found ${JSON.stringify(name)}, expected the name of a header`)
    }
    if (isOfFraming(name)) {
      throw new ConfigError(`http.headers.${name}: each answer says itself how long it is`)
    }
  }
  return {
    ...resolvePlace(input, context),
    prefix: input.prefix ?? '/',
    externalUrl: input.host,
    secret: input.secret,
    relativeUrls: input.relativeurls ?? false,
    drainTimeout: input.draintimeout ?? defaultDrainTimeout,
    headers,
    debug: resolveDebug(input.debug ?? {}),
    tls: resolveHttpTls(input.tls ?? {}, context),
    limits: resolveHttpLimits(input.limits ?? {}),
    trustedProxies: input.trustedproxies ?? [],
    sendfile: input.sendfile ?? true,
  }
}

/** What `addr` is depends on `net`. */
function resolvePlace({ net, addr }: HttpInput, context: ResolveContext): Pick<HttpConfig, 'host' | 'port' | 'socket'> {
  if (net !== 'unix') {
    const found = addr === undefined ? { host: '', port: 5000 } : findAddress(addr)
    if (found !== undefined) return { host: found.host, port: found.port, socket: undefined }
    throw misfit(['http', 'addr'], addr, 'an address to listen on, such as :5000, 127.0.0.1:5000 or [::1]:5000')
  }
  // Linux has room for no more (sockaddr_un), and would cut the rest off.
  if (addr === undefined || Buffer.byteLength(resolvePath(addr, context)) > 107) {
    throw misfit(['http', 'addr'], addr, 'the path of a unix socket, of at most 107 bytes, beside net: unix')
  }
  return { host: '', port: 0, socket: resolvePath(addr, context) }
}
