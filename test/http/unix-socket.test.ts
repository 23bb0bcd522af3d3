// A unix socket instead of a port.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, stat, writeFile } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { listen, type Listener } from '../../src/http/listener.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { startAppUnderTest, temporaryFolder } from '../support/app-under-test.ts'
import { startProcess } from '../support/real-parts.ts'

async function serve(socket: string): Promise<Listener> {
  const handler = async (): Promise<{ status: number; headers: Record<string, string> }> => ({
    status: 204,
    headers: {},
  })
  return await listen(handler, { host: '', port: 0, socket, logger: silentLogger })
}

async function statusAt(socketPath: string, path = '/'): Promise<number | undefined> {
  const [response] = (await once(get({ socketPath, path, agent: false }), 'response')) as [IncomingMessage]
  response.resume()
  return response.statusCode
}

test('a unix socket is served by, is for our user and group alone, and is gone at the end', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'a.sock')
  {
    await using listener = await serve(path)
    assert.equal(listener.url, `unix://${path}`)
    assert.equal(await statusAt(path), 204)
    assert.equal((await stat(path)).mode & 0o777, 0o660)
  }
  await assert.rejects(stat(path), { code: 'ENOENT' })
})

test('who asks as soon as there is a unix socket is answered', async () => {
  await using folder = await temporaryFolder()
  const asked = async (path: string): Promise<number | undefined> => {
    for (;;) {
      const status = await statusAt(path).catch(() => undefined)
      if (status !== undefined) return status
      await turn()
    }
  }
  for (let time = 0; time < 20; time++) {
    const path = join(folder.path, `${time}.sock`)
    const early = Array.from({ length: 5 }, async () => await asked(path))
    await using _ = await serve(path)
    assert.deepEqual(await Promise.all(early), [204, 204, 204, 204, 204])
  }
})

test('P9: the socket of a process that died is replaced', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'a.sock')
  const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('listening'))`
  await using other = await startProcess(process.execPath, ['-e', program])
  await other.waitFor(/listening/)
  await assert.rejects(serve(path), { code: 'EADDRINUSE', syscall: 'listen' })
  await other.stop('SIGKILL')
  assert.ok((await stat(path)).isSocket(), 'it is left behind')
  await using _ = await serve(path)
  assert.equal(await statusAt(path), 204)
})

test('what lives at the path, or is no socket, stays and is an error', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'a.sock')
  {
    await using _ = await serve(path)
    await assert.rejects(serve(path), { code: 'EADDRINUSE', syscall: 'listen' })
    assert.equal(await statusAt(path), 204)
  }
  const file = join(folder.path, 'a.txt')
  await writeFile(file, 'words')
  await chmod(file, 0o600)
  await assert.rejects(serve(file), { code: 'EADDRINUSE', syscall: 'listen' })
  assert.ok((await stat(file)).isFile())
  await assert.rejects(serve(join(folder.path, 'nowhere', 'a.sock')), { syscall: 'listen' })
})

test('http.net: unix makes the whole server listen there', async () => {
  await using folder = await temporaryFolder()
  const addr = join(folder.path, 'a.sock')
  await using app = await startAppUnderTest({ http: { net: 'unix', addr, draintimeout: '0s' } })
  assert.equal(app.url, `unix://${addr}`)
  assert.equal(await statusAt(addr, '/v2/'), 200)
})
