// T-41, P9: whatever has become of the files that we keep for ourselves, the server starts, serves and takes pushes.
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, pull } from '../support/client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import { temporaryFolder } from '../support/real-parts.ts'

const damages: ReadonlyArray<[what: string, damage: (path: string, bytes: Buffer) => Promise<void>]> = [
  ['empty', async (path) => await writeFile(path, '')],
  ['torn', async (path, bytes) => await writeFile(path, bytes.subarray(0, bytes.byteLength / 2))],
  ['zeros', async (path, bytes) => await writeFile(path, Buffer.alloc(bytes.byteLength))],
  ['null', async (path) => await writeFile(path, 'null')],
  ['of another version', async (path) => await writeFile(path, '{"version":99}\n')],
  ['gone', async (path) => await rm(path)],
  [
    'a folder',
    async (path) => {
      await rm(path)
      await mkdir(path)
    },
  ],
]

for (const [what, damage] of damages) {
  test(`T-41, P9: all files of our own are ${what}: it starts, serves what is here, and takes a push`, async () => {
    await using folder = await temporaryFolder()
    await using origin = await startOrigin()
    const { layers, manifest } = await origin.addImage('app', 'v1', [randomBlob(100_000).bytes])
    const start = async (): Promise<AppUnderTest> =>
      await startAppUnderTest({
        storage: { filesystem: { rootdirectory: folder.path }, scrub: { enabled: true }, delete: { enabled: true } },
        notifications: { endpoints: [{ url: 'http://127.0.0.1:1' }] },
        proxy: { upstreams: { up: { url: origin.url, default: true } }, cache: { ttl: '30d' } },
      })
    const paths = ['manifests/v1', `manifests/${manifest}`, `blobs/${layers[0]}`, `referrers/${manifest}`]
    {
      await using app = await start()
      for (const path of paths) assert.equal((await ask(`${app.url}/v2/app/${path}`)).status, 200, path)
      await app.until(({ msg }) => msg === 'fill stored')
    }
    const own = await readdir(join(folder.path, 'entrepot'), { recursive: true, withFileTypes: true })
    const files = own.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    assert.ok(files.some((path) => path.endsWith('upload-secret')))
    for (const name of ['ledger.sqlite', 'queue-0.sqlite'])
      assert.ok(
        files.some((path) => path.endsWith(name)),
        name,
      )
    for (const path of files) await damage(path, await readFile(path))

    await using app = await start()
    for (const path of paths.slice(0, 3)) {
      const { status, complete } = await pull(`${app.url}/v2/up/app/${path}`)
      assert.deepEqual({ status, complete }, { status: 200, complete: true }, path)
    }
    const { bytes, digest } = randomBlob(1000)
    const begun = await ask(`${app.url}/v2/local/app/blobs/uploads/`, { method: 'POST' })
    assert.equal(begun.status, 202)
    const pushed = await ask(`${String(begun.headers['location'])}&digest=${digest}`, { method: 'PUT', body: bytes })
    assert.equal(pushed.status, 201)
    assert.equal((await pull(`${app.url}/v2/local/app/blobs/${digest}`)).digest, digest)
    const secret = join(folder.path, 'entrepot/upload-secret')
    if (what !== 'a folder') assert.match(await readFile(secret, 'utf8'), /^[0-9a-f]{64}$/)
  })
}
