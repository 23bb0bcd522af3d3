// A registry with one image in it, and people with passwords.
import bcrypt from 'bcrypt'
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { ask } from '../support/client.ts'

export const layer: Buffer = Buffer.from('a layer')
const config = Buffer.from('{}')
export const layerDigest: string = digestOf(layer)

export const manifest: Buffer = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.length },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layerDigest, size: layer.length }],
  }),
)
export const manifestDigest: string = digestOf(manifest)

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}

/** Lines of a htpasswd file; each user's password is `<user>-password`. */
export async function htpasswdOf(...users: readonly string[]): Promise<string> {
  const lines = users.map(async (user) => `${user}:${await bcrypt.hash(`${user}-password`, 4)}\n`)
  return (await Promise.all(lines)).join('')
}

export interface Guarded extends AppUnderTest {
  /** The htpasswd file. */
  readonly file: string
}

/** `auth`: beside `htpasswd`. */
export async function startGuarded(
  users: readonly string[],
  auth: Record<string, unknown> = {},
  sections: Record<string, unknown> = {},
): Promise<Guarded> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporaryFolder())
  const file = join(folder.path, 'htpasswd')
  await writeFile(file, await htpasswdOf(...users))
  const app = opening.use(
    await startAppUnderTest({
      storage: { inmemory: {}, delete: { enabled: true } },
      auth: { htpasswd: { realm: 'ours', path: file }, ...auth },
      ...sections,
    }),
  )
  const resources = opening.move()
  return { ...app, file, [Symbol.asyncDispose]: async () => await resources.disposeAsync() }
}

/** Pushes the image as `tag`. */
export async function pushImage(url: string, name: string, tag: string, authorization: string): Promise<void> {
  const headers = { authorization }
  for (const blob of [config, layer]) {
    const target = `${url}/v2/${name}/blobs/uploads/?digest=${digestOf(blob)}`
    const { status } = await ask(target, { method: 'POST', headers, body: blob })
    if (status !== 201) throw new Error(`pushing a blob: ${status}`)
  }
  const type = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' }
  const put = { method: 'PUT', headers: { ...headers, ...type }, body: manifest }
  const { status } = await ask(`${url}/v2/${name}/manifests/${tag}`, put)
  if (status !== 201) throw new Error(`pushing a manifest: ${status}`)
}
