// The block that a person sees at start: where we are, what we mirror, and what to copy into a client.
import type { Config } from '../config/config.ts'
import type { UpstreamConfig } from '../config/upstream-section.ts'

export interface BannerFacts {
  readonly version: string
  readonly config: Config
  readonly url: string
}

export function banner({ version, config, url }: BannerFacts): string {
  const where = config.storage.driver === 'filesystem' ? config.storage.rootDirectory : 'memory, gone at the end'
  const isLocal = url.startsWith('unix:') // clients reach us by what stands in front
  const lines = [
    `entrepot ${version}`,
    '',
    `  address    ${url}`,
    `  storage    ${where}`,
    ...upstreamLines(config),
    ...(config.proxy?.upstreams.length && !isLocal ? clientLines(config.proxy.upstreams, url) : []),
  ]
  return `${lines.join('\n')}\n\n`
}

function upstreamLines(config: Config): string[] {
  const { proxy } = config
  if (proxy === undefined) return ['  upstreams  none: a plain registry']
  const width = Math.max(0, ...proxy.upstreams.map((upstream) => nameOf(upstream).length))
  const lines = proxy.upstreams.map((upstream, index) => {
    const label = index === 0 ? 'upstreams' : ''
    const mark = upstream.default ? '  (default)' : ''
    return `  ${label.padEnd(9)}  ${nameOf(upstream).padEnd(width)}  ${upstream.url.origin}${mark}`
  })
  return proxy.offline ? [...lines, '  offline    no upstream is asked'] : lines
}

function clientLines(upstreams: readonly UpstreamConfig[], url: string): string[] {
  const { host, protocol } = new URL(url)
  const upstream = upstreams.find((candidate) => candidate.default) ?? upstreams[0]
  const name = upstream?.name ?? upstream?.url.host ?? ''
  const location = upstream?.name === undefined ? host : `${host}/${upstream.name}`
  return [
    '',
    `  containerd  /etc/containerd/certs.d/${name}/hosts.toml`,
    `                [host."${url}"]`,
    '                  capabilities = ["pull", "resolve"]',
    '  dockerd     /etc/docker/daemon.json (Docker Hub only)',
    `                { "registry-mirrors": ["${url}"] }`,
    '  podman      /etc/containers/registries.conf',
    '                [[registry]]',
    `                location = "${name}"`,
    '                [[registry.mirror]]',
    `                location = "${location}"`,
    ...(protocol === 'http:' ? ['                insecure = true'] : []),
  ]
}

function nameOf(upstream: UpstreamConfig): string {
  return upstream.name ?? upstream.url.host
}
