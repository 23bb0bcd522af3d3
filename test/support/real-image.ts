// Builds real images with buildah and puts them into a registry: a shell of this machine on the libraries it needs.
import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { run, type Folder } from './real-parts.ts'

/** The programs that a builder needs. */
export const builderPrograms: readonly string[] = ['buildah', 'ldd']

/** What tags a push makes: the same image as OCI has it, as Docker has it, and as an index of two platforms. */
export const tags: readonly string[] = ['oci', 'docker', 'index']

export interface ImageBuilder {
  /** Puts an image that prints `greeting` into a registry, as `tags`. Its first layers are shared by all images of this builder. */
  push(host: string, repository: string, greeting: string): Promise<void>
}

/** Signatures are not what we look at. */
export async function signaturePolicy(folder: Folder): Promise<string> {
  return await folder.write('policy.json', '{"default":[{"type":"insecureAcceptAnything"}]}')
}

/** Builds what all images share, without a network. */
export async function imageBuilder(folder: Folder): Promise<ImageBuilder> {
  const policy = await signaturePolicy(folder)
  const store = join(folder.path, 'buildah')
  const place = ['--storage-driver', 'vfs', '--root', join(store, 'root'), '--runroot', join(store, 'run')]
  const buildah = async (...args: readonly string[]): Promise<string> => await run('buildah', [...place, ...args])
  const commit = async (container: string, name: string): Promise<void> => {
    await buildah('commit', '--quiet', '--rm', '--signature-policy', policy, container, name)
  }

  const libraries = join(folder.path, 'libraries')
  await copyLibraries('/bin/sh', libraries)
  const bottom = await buildah('from', 'scratch')
  await buildah('copy', '--quiet', bottom, libraries, '/')
  await commit(bottom, 'bottom')

  const programs = join(folder.path, 'programs')
  await mkdir(join(programs, 'bin'), { recursive: true })
  await copyFile('/bin/sh', join(programs, 'bin', 'sh'))
  await writeFile(join(programs, 'ballast'), randomBytes(4 * 1024 * 1024))
  const middle = await buildah('from', '--pull-never', 'bottom')
  await buildah('copy', '--quiet', middle, programs, '/')
  await commit(middle, 'middle')

  const build = async (greeting: string, arch: string, name: string): Promise<void> => {
    const top = await buildah('from', '--pull-never', 'middle')
    const file = await folder.write('greeting', `${greeting}\n`)
    await buildah('copy', '--quiet', top, file, '/greeting')
    const command = JSON.stringify(['/bin/sh', '-c', 'read -r line < /greeting && echo "$line"'])
    await buildah('config', '--arch', arch, '--cmd', command, top)
    await commit(top, name)
  }

  return {
    async push(host, repository, greeting) {
      const [here, other] = process.arch === 'arm64' ? ['arm64', 'amd64'] : ['amd64', 'arm64']
      const name = repository.replaceAll('/', '-')
      const flags = ['--quiet', '--tls-verify=false', '--signature-policy', policy]
      await build(greeting, here, `${name}-${here}`)
      await build(greeting, other, `${name}-${other}`)
      const target = `docker://${host}/${repository}`
      await buildah('push', ...flags, '--format', 'oci', `${name}-${here}`, `${target}:oci`)
      await buildah('push', ...flags, '--format', 'v2s2', `${name}-${here}`, `${target}:docker`)
      const index = `${name}-index`
      await buildah('manifest', 'create', index)
      await buildah('manifest', 'add', '--arch', here, index, `${name}-${here}`)
      await buildah('manifest', 'add', '--arch', other, index, `${name}-${other}`)
      await buildah('manifest', 'push', ...flags, '--all', '--rm', index, `${target}:index`)
    },
  }
}

/** Copies the shared libraries of a program, and its loader, to the same places below `root`. */
async function copyLibraries(program: string, root: string): Promise<void> {
  const lines = await run('ldd', [program])
  for (const [path] of lines.matchAll(/\/[^\s()]+/g)) {
    await mkdir(join(root, dirname(path)), { recursive: true })
    await copyFile(path, join(root, path))
  }
}
