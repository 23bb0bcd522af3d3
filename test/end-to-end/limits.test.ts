// T-98: a process with few descriptors or little memory is slow at worst.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import { ask } from '../support/client.ts'
import { lightPull } from '../support/light-client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import {
  checkout,
  entrepotAt,
  startProcess,
  temporaryFolder,
  until,
  type Entrepot,
  type Folder,
} from '../support/real-parts.ts'

async function startWith(folder: Folder, url: string, command: readonly [string, ...string[]]): Promise<Entrepot> {
  const config = await folder.write(
    'config.yml',
    `version: 0.1
storage: { filesystem: { rootdirectory: ${folder.path}/data } }
http: { addr: 127.0.0.1:0, draintimeout: 0s }
proxy: { remoteurl: "${url}" }
`,
  )
  const [program, ...args] = command
  return await entrepotAt(await startProcess(program, [...args, 'src/main.ts', 'serve', config], { cwd: checkout }))
}

/** Resolves when the connection is made, or is not. */
async function hold(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {}) // that is one of the answers
  await Promise.race([once(socket, 'connect'), new Promise((resolve) => socket.once('close', resolve))])
  return socket
}

test(
  'T-98, P7: more connections than descriptors are no end of it: what is given back is used',
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder()
    await using origin = await startOrigin()
    const first = await origin.addBlob('app', randomBlob(200_000).bytes)
    const second = await origin.addBlob('app', randomBlob(200_000).bytes)
    const few = ['sh', '-c', 'ulimit -n 128 && exec "$0" "$@"', process.execPath] as const
    await using entrepot = await startWith(folder, origin.url, few)
    assert.equal((await lightPull(`${entrepot.url}/v2/app/blobs/${first}`).done).digest, first)
    for (let round = 0; round < 2; round++) {
      const held = await Promise.all(Array.from({ length: 400 }, async () => await hold(entrepot.url)))
      const answer = await lightPull(`${entrepot.url}/v2/app/blobs/${second}`, { patience: 2000 }).done
      assert.ok(!answer.complete || answer.status >= 500 || answer.digest === second, `${answer.status}`)
      await until('some are turned away', async () => held.some(({ destroyed }) => destroyed))
      for (const socket of held) socket.destroy()
      await until('it serves again', async () => {
        try {
          return (await ask(`${entrepot.url}/v2/`)).status === 200
        } catch {
          return false // the connection was refused
        }
      })
    }
    for (const digest of [first, second]) {
      const answer = await lightPull(`${entrepot.url}/v2/app/blobs/${digest}`).done
      assert.deepEqual([answer.status, answer.complete, answer.digest], [200, true, digest])
    }
    assert.ok(entrepot.lines().length < 50, 'trouble is not said for each connection')
    assert.equal(await entrepot.stop(), 0)
  },
)

test('T-98, P7: a small heap bears many clients of large blobs, cold and warm', { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const digests: Digest[] = []
  for (let nth = 0; nth < 4; nth++) digests.push(await origin.addBlob('app', randomBlob(16 * 1024 * 1024).bytes))
  await using entrepot = await startWith(folder, origin.url, [process.execPath, '--max-old-space-size=128'])
  for (let round = 0; round < 2; round++) {
    const clients = digests.flatMap((digest) => {
      return Array.from({ length: 15 }, () => ({ digest, ...lightPull(`${entrepot.url}/v2/app/blobs/${digest}`) }))
    })
    for (const { digest, done } of clients) {
      const answer = await done
      assert.deepEqual([answer.status, answer.complete, answer.digest], [200, true, digest])
    }
  }
  assert.equal(await entrepot.stop(), 0)
})
