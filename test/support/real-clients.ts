// The clients that people pull with, each on an empty storage of its own, so that it has to fetch everything.
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { signaturePolicy } from './real-image.ts'
import { run, startProcess, temporaryFolder, type Folder } from './real-parts.ts'

/** Copies an image with all its platforms; resolves with what arrived: file name → sha256. */
export async function skopeoCopy(image: string): Promise<Record<string, string>> {
  await using folder = await temporaryFolder()
  const target = await skopeoPull(image, folder)
  const found: Record<string, string> = {}
  for (const name of await readdir(target)) {
    found[name] = createHash('sha256')
      .update(await readFile(join(target, name)))
      .digest('hex')
  }
  return found
}

/** Copies an image with all its platforms into a folder; resolves with where it is there. */
export async function skopeoPull(image: string, folder: Folder): Promise<string> {
  const target = join(folder.path, 'image')
  const flags = ['--quiet', '--all', '--preserve-digests', '--src-tls-verify=false', '--src-no-creds']
  const policy = ['--policy', await signaturePolicy(folder)]
  await run('skopeo', [...policy, 'copy', ...flags, `docker://${image}`, `dir:${target}`])
  return target
}

/**
 * Pulls `registry/image` with podman, whose registries.conf puts `mirror` (`host/prefix`) in front of `registry`. Resolves
 * with the digests that podman knows the image by.
 */
export async function podmanPull(registry: string, mirror: string, image: string): Promise<string[]> {
  await using folder = await temporaryFolder()
  const registries = await folder.write(
    'registries.conf',
    `[[registry]]\nlocation = "${registry}"\n[[registry.mirror]]\nlocation = "${mirror}"\ninsecure = true\n`,
  )
  const place = ['root', 'runroot', 'tmpdir'].flatMap((name) => [`--${name}`, join(folder.path, name)])
  const kind = ['--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--events-backend', 'none']
  const podman = async (...args: readonly string[]): Promise<string> =>
    await run('podman', [...place, ...kind, ...args], { env: { CONTAINERS_REGISTRIES_CONF: registries } })
  const name = `${registry}/${image}`
  await podman('pull', '--quiet', '--signature-policy', await signaturePolicy(folder), name)
  const digests = await podman('image', 'inspect', '--format', '{{join .RepoDigests " "}}', name)
  return digests.split(' ').map((digest) => digest.replace(/^.*@/, ''))
}

/** Copies an image with all its platforms from one registry to another, with skopeo. */
export async function skopeoCopyBetween(from: string, to: string): Promise<void> {
  await using folder = await temporaryFolder()
  const flags = ['--quiet', '--all', '--preserve-digests', '--src-tls-verify=false', '--dest-tls-verify=false']
  const policy = ['--policy', await signaturePolicy(folder)]
  await run('skopeo', [...policy, 'copy', ...flags, `docker://${from}`, `docker://${to}`])
}

export async function skopeoDelete(image: string): Promise<void> {
  await run('skopeo', ['delete', '--tls-verify=false', `docker://${image}`])
}

/** Pulls an image with podman and pushes it under another name. */
export async function podmanCopy(from: string, to: string): Promise<void> {
  await using folder = await temporaryFolder()
  const place = ['root', 'runroot', 'tmpdir'].flatMap((name) => [`--${name}`, join(folder.path, name)])
  const kind = ['--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--events-backend', 'none']
  const podman = async (...args: readonly string[]): Promise<string> =>
    await run('podman', [...place, ...kind, ...args])
  const policy = ['--signature-policy', await signaturePolicy(folder)]
  await podman('pull', '--quiet', '--tls-verify=false', ...policy, from)
  await podman('push', '--quiet', '--tls-verify=false', ...policy, from, to)
}

export interface Containerd extends AsyncDisposable {
  pull(image: string): Promise<void>
  /** Pushes what was pulled as `image`, for this machine's platform, to a registry that speaks plain HTTP. */
  push(image: string, target: string): Promise<void>
  /** Runs the image's command in a container and resolves with what that wrote. */
  runOnce(image: string): Promise<string>
}

/** containerd with a `hosts.toml` per registry: registry → the URL of its mirror. `authority`: a file with who signs for these. */
export async function startContainerd(
  mirrors: Readonly<Record<string, string>>,
  authority?: string,
): Promise<Containerd> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporaryFolder())
  const path = (name: string): string => join(folder.path, name)
  for (const [registry, url] of Object.entries(mirrors)) {
    await mkdir(join(path('hosts'), registry), { recursive: true })
    // `server` is where a client goes that the mirror does not satisfy: nobody is there.
    const text = `server = "http://127.0.0.1:1"\n[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`
    const trust = authority === undefined ? '' : `  ca = "${authority}"\n`
    await writeFile(join(path('hosts'), registry, 'hosts.toml'), text + trust)
  }
  const config = [
    'version = 2',
    `root = "${path('root')}"`,
    `state = "${path('state')}"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    `[grpc]\naddress = "${path('sock')}"`,
    `[ttrpc]\naddress = "${path('sock.ttrpc')}"`,
    `[plugins."io.containerd.internal.v1.opt"]\npath = "${path('opt')}"`,
  ]
  const file = await folder.write('config.toml', config.join('\n'))
  const containerd = opening.use(await startProcess('containerd', ['--config', file]))
  await containerd.waitFor(/containerd successfully booted/)
  const resources = opening.move()
  const ctr = async (...args: readonly string[]): Promise<string> =>
    await run('ctr', ['--address', path('sock'), ...args])
  return {
    async pull(image) {
      await ctr('images', 'pull', '--snapshotter', 'native', '--hosts-dir', path('hosts'), image)
    },
    async push(image, target) {
      await ctr(
        'images',
        'push',
        '--plain-http',
        '--platform',
        `linux/${process.arch === 'arm64' ? 'arm64' : 'amd64'}`,
        target,
        image,
      )
    },
    async runOnce(image) {
      return await ctr('run', '--rm', '--snapshotter', 'native', '--net-host', image, 'once')
    },
    async [Symbol.asyncDispose]() {
      await resources.disposeAsync()
    },
  }
}
