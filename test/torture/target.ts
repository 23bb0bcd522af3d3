// What is tortured: entrepot, and a peer to compare with. Each is started as its users start it.
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { checkout, entrepotAt, run, startProcess, without, type Folder, type Running } from '../support/real-parts.ts'

export interface MirrorOptions {
  readonly upstream: string
  /** Where it keeps everything. */
  readonly root: string
  readonly credentials?: { readonly username: string; readonly password: string } | undefined
  /** Of tags; without it, as shipped. The peer knows no such thing: it asks every time. */
  readonly freshness?: string | undefined
  readonly timeouts?: string | undefined
}

export interface Mirror {
  readonly url: string
  readonly process: Running
}

export interface Target {
  readonly id: 'entrepot' | 'docker-registry'
  /** Why it cannot run here, or `false`. */
  readonly missing: string | false
  name(): Promise<string>
  /** @throws AssertionError where it ends instead of listening */
  start(folder: Folder, options: MirrorOptions): Promise<Mirror>
  /** Folders below the root in which a dead process may leave bytes. */
  readonly unfinished: readonly RegExp[]
  /** Its own files, which it must be able to do without. */
  readonly state: RegExp
}

const entrepot: Target = {
  id: 'entrepot',
  missing: false,
  name: async () => 'entrepot',
  unfinished: [/^entrepot\/(?:tmp|fills)\//, /\/_uploads\//],
  state: /^entrepot\/(?!tmp\/|fills\/)/,
  async start(folder, { upstream, root, credentials, freshness, timeouts }) {
    const proxy = [
      `remoteurl: "${upstream}"`,
      ...(credentials === undefined ? [] : [`username: ${credentials.username}, password: ${credentials.password}`]),
      ...(freshness === undefined ? [] : [`freshness: ${freshness}`]),
      ...(timeouts === undefined ? [] : [`timeouts: ${timeouts}`]),
    ]
    const file = await folder.write(
      `entrepot-${randomUUID()}.yml`,
      [
        'version: 0.1',
        `storage: { filesystem: { rootdirectory: ${root} } }`,
        'http: { addr: 127.0.0.1:0 }',
        `proxy: { ${proxy.join(', ')} }`,
      ].join('\n'),
    )
    const compiled = join(checkout, 'node_modules/.cache/compile')
    // All as `npm start` has it.
    const env = { NODE_COMPILE_CACHE: compiled, MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '131072' }
    const args = ['--max-semi-space-size=4', 'src/main.ts', 'serve', file]
    return await entrepotAt(await startProcess(process.execPath, args, { cwd: checkout, env }))
  },
}

const dockerRegistry: Target = {
  id: 'docker-registry',
  missing: without('docker-registry'),
  name: async () => {
    const version = /\d+\.\d+\.\d+\S*/.exec(await run('docker-registry', ['--version']))?.[0] ?? ''
    return `docker-registry ${version}`
  },
  unfinished: [/\/_uploads\//],
  state: /^scheduler-state\.json$/,
  async start(folder, { upstream, root, credentials }) {
    const proxy = [
      `remoteurl: "${upstream}"`,
      ...(credentials === undefined ? [] : [`username: ${credentials.username}, password: ${credentials.password}`]),
    ]
    const file = await folder.write(
      `docker-registry-${randomUUID()}.yml`,
      [
        'version: 0.1',
        `storage: { cache: { blobdescriptor: inmemory }, filesystem: { rootdirectory: ${root} } }`,
        'http: { addr: 127.0.0.1:0 }',
        `proxy: { ${proxy.join(', ')} }`,
      ].join('\n'),
    )
    const running = await startProcess('docker-registry', ['serve', file])
    const [, host = ''] = await running.waitFor(/listening on (127\.0\.0\.1:\d+)/)
    return { url: `http://${host}`, process: running }
  },
}

export const targets: readonly Target[] = [entrepot, dockerRegistry]
