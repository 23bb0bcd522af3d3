// Registries in front of an upstream, each as its users start it: entrepot, and peers to compare with.
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkout, run, startProcess, without, type Folder, type Running } from '../real-parts.ts'

export interface MirrorOptions {
  readonly upstream: string
  /** What clients call the upstream, for those who say so; the peers have one upstream and do not listen. */
  readonly name?: string | undefined
  /** Where it keeps everything. */
  readonly root: string
  /** Without them it speaks plain HTTP. */
  readonly tls?: CertificateFiles | undefined
  readonly credentials?: { readonly username: string; readonly password: string } | undefined
  /** Of tags; without it, as shipped. The peers know no such thing: they ask every time. */
  readonly freshness?: string | undefined
  /** The next three as in entrepot's configuration, which alone knows them. */
  readonly timeouts?: string | undefined
  readonly fill?: string | undefined
  readonly cache?: string | undefined
  /** A file for all that it writes; without it, it is kept in memory. */
  readonly log?: string | undefined
}

/** Paths of files in PEM. */
export interface CertificateFiles {
  readonly certificate: string
  readonly key: string
}

export interface Mirror {
  readonly url: string
  readonly process: Running
}

export interface MirrorProgram {
  /** Why it cannot run here, or `false`. */
  readonly missing: string | false
  name(): Promise<string>
  /** @throws AssertionError where it ends instead of listening */
  start(folder: Folder, options: MirrorOptions): Promise<Mirror>
}

export const entrepot: MirrorProgram = {
  missing: false,
  name: async () => 'entrepot',
  async start(folder, { upstream, name, root, tls, credentials, log, ...ours }) {
    const one = name === undefined ? { remoteurl: `"${upstream}"`, ...credentials } : named(name, upstream)
    const file = await folder.write(
      `entrepot-${randomUUID()}.yml`,
      [
        'version: 0.1',
        `storage: { filesystem: { rootdirectory: ${root} } }`,
        httpSection(tls),
        `proxy: { ${proxySection({ ...one, ...ours })} }`,
      ].join('\n'),
    )
    const { env, args } = await npmStart()
    const process = await startProcess(globalThis.process.execPath, [...args, 'serve', file], {
      cwd: checkout,
      env,
      log,
    })
    const [, url = ''] = await process.waitFor(/"url":"(https?:\/\/[^"/]+)[^\n]*"listening"/)
    return { url, process }
  },
}

export const dockerRegistry: MirrorProgram = distribution('docker-registry', without('docker-registry'))

/** distribution, under the name or path that its program has here. */
export function distribution(program: string, missing: string | false): MirrorProgram {
  return {
    missing,
    async name() {
      const version = /\d+\.\d+\.\d+\S*/.exec(await run(program, ['--version']))?.[0] ?? ''
      return `${program.includes('/') ? 'distribution' : program} ${version}`
    },
    async start(folder, { upstream, root, tls, credentials, log }) {
      const file = await folder.write(
        `distribution-${randomUUID()}.yml`,
        [
          'version: 0.1',
          `storage: { cache: { blobdescriptor: inmemory }, filesystem: { rootdirectory: ${root} } }`,
          httpSection(tls),
          `proxy: { ${proxySection({ remoteurl: `"${upstream}"`, ...credentials })} }`,
        ].join('\n'),
      )
      const env = { OTEL_TRACES_EXPORTER: 'none' } // it would look for a collector
      const process = await startProcess(program, ['serve', file], { env, log })
      const [, host = ''] = await process.waitFor(/listening on (127\.0\.0\.1:\d+)/)
      return { url: `${tls === undefined ? 'http' : 'https'}://${host}`, process }
    },
  }
}

function httpSection(tls: CertificateFiles | undefined): string {
  const section = tls === undefined ? '' : `, tls: { certificate: ${tls.certificate}, key: ${tls.key} }`
  return `http: { addr: 127.0.0.1:0${section} }`
}

function named(name: string, upstream: string): Record<string, string> {
  return { upstreams: `{ ${name}: { url: "${upstream}", default: true } }` }
}

function proxySection(keys: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(keys)
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key}: ${value}`]))
    .join(', ')
}

/** The variables and arguments that `npm start` gives to node. */
async function npmStart(): Promise<{ env: Record<string, string>; args: string[] }> {
  const { scripts } = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')) as {
    scripts: { start: string }
  }
  const words = scripts.start.split(' ')
  const node = words.indexOf('node')
  const pairs = words.slice(0, node).filter((word) => word.includes('=')) // before them, `exec env`
  const env = Object.fromEntries(pairs.map((word) => word.split('=', 2) as [string, string]))
  return { env, args: words.slice(node + 1) }
}
