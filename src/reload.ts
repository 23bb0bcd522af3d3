// What of a configuration can change while the server runs. Beside app.ts, which wires it.
import type { Config } from './config/config.ts'
import type { ProxyConfig } from './config/proxy-section.ts'
import type { MirrorConfig, UpstreamConfig } from './config/upstream-section.ts'
import { titleOf, type Upstream, type UpstreamPolicy } from './proxy/selection.ts'
import { ConfiguredCredentials, type CredentialSource } from './upstream/credentials.ts'

export function policyOf({ freshness, tags, onGone, onDenied }: UpstreamConfig): UpstreamPolicy {
  const rules = tags.map((rule) => ({ ...rule, match: new RegExp(rule.match, 'u') }))
  return { freshness, tags: rules, onGone, onDenied }
}

/** Upstreams that run, and the credentials that the configuration holds for them and their mirrors. */
export class LiveUpstreams {
  readonly #upstreams = new Map<string, Upstream>()
  readonly #credentials = new Map<string, ConfiguredCredentials>()

  upstream(upstream: Upstream): Upstream {
    this.#upstreams.set(titleOf(upstream), upstream)
    return upstream
  }

  credentials(title: string, access: MirrorConfig | UpstreamConfig, open: () => CredentialSource): CredentialSource {
    const source = open()
    if (source instanceof ConfiguredCredentials) this.#credentials.set(keyOf(title, access), source)
    return source
  }

  /** What is new or gone, and credentials of another kind, wait for a restart. */
  reload({ upstreams }: ProxyConfig): void {
    for (const next of upstreams) {
      const title = titleOf({ name: next.name, host: next.url.host })
      const running = this.#upstreams.get(title)
      if (running !== undefined) Object.assign(running, policyOf(next))
      for (const access of [next, ...next.mirrors]) {
        if (access.credentials.kind !== 'password') continue
        this.#credentials.get(keyOf(title, access))?.replace(access.credentials)
      }
    }
  }
}

/** With the URL: what is meant for one place is never given to another (P8). */
function keyOf(title: string, { url }: MirrorConfig | UpstreamConfig): string {
  return `${title} ${url.href}`
}

/** Sections of the file that differ in more than what can change while we run. */
export function changedSections(old: Config, next: Config): readonly string[] {
  const [before, after] = [settled(old), settled(next)]
  return Object.keys(before).filter((key) => before[key] !== after[key])
}

/** Each section as text, without what can change. */
function settled(config: Config): Record<string, string | undefined> {
  const { log, proxy } = config
  const still = { ...config, log: { ...log, level: undefined }, proxy: proxy && settledProxy(proxy) }
  return Object.fromEntries(Object.entries(still).map(([key, value]) => [key, JSON.stringify(value)]))
}

function settledProxy(proxy: ProxyConfig): unknown {
  const upstreams = proxy.upstreams.map((upstream) => ({
    ...upstream,
    ...settledAccess(upstream),
    freshness: undefined,
    tags: undefined,
    onGone: undefined,
    onDenied: undefined,
    mirrors: upstream.mirrors.map((mirror) => ({ ...mirror, ...settledAccess(mirror) })),
  }))
  const timeouts = { ...proxy.timeouts, stale: undefined }
  return { ...proxy, upstreams, timeouts, freshness: undefined, negative: undefined }
}

function settledAccess({ credentials }: MirrorConfig | UpstreamConfig): { readonly credentials: unknown } {
  return { credentials: credentials.kind === 'password' ? credentials.kind : credentials }
}
