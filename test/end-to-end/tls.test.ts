// The whole server behind its own certificate, and a real client that knows the authority.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { makeAuthority } from '../support/certificates.ts'
import { signaturePolicy } from '../support/real-image.ts'
import { run, temporaryFolder, without, type Folder } from '../support/real-parts.ts'

/** An image of one layer as skopeo's `dir:` has it; resolves with its manifest. */
async function writeImage(folder: string): Promise<string> {
  const layer = randomBytes(100_000)
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
  })
  const descriptor = (mediaType: string, bytes: string | Buffer): unknown => {
    return { mediaType, digest: digestOf(bytes), size: Buffer.byteLength(bytes) }
  }
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: [descriptor('application/vnd.oci.image.layer.v1.tar', layer)],
  })
  await mkdir(folder)
  for (const bytes of [layer, config]) await writeFile(join(folder, digestOf(bytes).replace('sha256:', '')), bytes)
  await writeFile(join(folder, 'version'), 'Directory Transport Version: 1.1\n')
  await writeFile(join(folder, 'manifest.json'), manifest)
  return manifest
}

async function writeAll(folder: Folder, name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const path = join(folder.path, name)
  await mkdir(path)
  for (const [file, text] of Object.entries(files)) await writeFile(join(path, file), text)
  return path
}

test(
  'skopeo pushes and pulls by TLS, known by a certificate of its own, and not without one or without the authority',
  { skip: without('skopeo'), timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder()
    const authority = makeAuthority()
    const server = authority.issue({ names: ['127.0.0.1'] })
    const client = authority.issue()
    await using app = await startAppUnderTest({
      http: {
        addr: '127.0.0.1:0',
        draintimeout: '0s',
        tls: {
          certificate: await folder.write('server.pem', server.certificate),
          key: await folder.write('server.key', server.key),
          clientcas: [await folder.write('ca.pem', authority.certificate)],
        },
      },
    })
    assert.match(app.url, /^https:/)
    const manifest = await writeImage(join(folder.path, 'image'))
    const known = { 'ca.crt': authority.certificate, 'client.cert': client.certificate, 'client.key': client.key }
    const image = `docker://${new URL(app.url).host}/local/app:1`
    const copy = async (...args: readonly string[]): Promise<string> =>
      await run('skopeo', ['--policy', await signaturePolicy(folder), 'copy', '--quiet', '--preserve-digests', ...args])
    const certificates = await writeAll(folder, 'known', known)
    await copy('--dest-cert-dir', certificates, `dir:${folder.path}/image`, image)
    await copy('--src-cert-dir', certificates, image, `dir:${folder.path}/copy`)
    assert.equal(await readFile(join(folder.path, 'copy', 'manifest.json'), 'utf8'), manifest)
    const nameless = await writeAll(folder, 'nameless', { 'ca.crt': authority.certificate })
    await assert.rejects(copy('--src-cert-dir', nameless, image, `dir:${folder.path}/none`), /certificate required/)
    const trustless = await writeAll(folder, 'trustless', { ...known, 'ca.crt': makeAuthority().certificate })
    await assert.rejects(copy('--src-cert-dir', trustless, image, `dir:${folder.path}/none`), /unknown authority/)
  },
)
