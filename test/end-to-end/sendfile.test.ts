// What is stored leaves without being read here, where the system can send it and nobody has to look at it.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { loadSendfile } from '../../src/http/sendfile.ts'
import { startAppUnderTest } from '../support/app-under-test.ts'
import { bytesRead } from '../support/bytes-read.ts'
import { selfSigned } from '../support/certificates.ts'
import { openMemoryFiles } from '../support/memory-files.ts'
import { temporaryFolder } from '../support/real-parts.ts'

const size = 8 * 1024 * 1024

async function push(url: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  const pushed = await fetch(`${url}/v2/app/blobs/uploads/?digest=${digest}`, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: bytes,
  })
  assert.equal(pushed.status, 201)
  return digest
}

for (const { sendfile, title } of [
  { sendfile: true, title: 'a blob that is proven is not read to be served' },
  { sendfile: false, title: 'and is, where http.sendfile says so' },
]) {
  test(title, { skip: process.platform !== 'linux' && 'only Linux is asked' }, async () => {
    await using folder = await temporaryFolder()
    await using app = await startAppUnderTest({
      storage: { filesystem: { rootdirectory: folder.path } },
      http: { addr: '127.0.0.1:0', draintimeout: '0s', sendfile },
    })
    const bytes = randomBytes(size)
    const digest = await push(app.url, bytes)
    const pull = async (range?: string): Promise<void> => {
      const headers: Record<string, string> = range === undefined ? {} : { range: `bytes=${range}` }
      const answer = await fetch(`${app.url}/v2/app/blobs/${digest}`, { headers })
      const [start = 0, last = size - 1] = (range ?? '').split('-').filter(Boolean).map(Number)
      assert.ok(bytes.subarray(start, last + 1).equals(Buffer.from(await answer.arrayBuffer())))
    }
    await loadSendfile() // which a server does when its first large answer has left
    await pull() // and what was pushed is proven while it is read for the first time
    await app.until(({ msg, method }) => msg === 'request' && method === 'GET') // both are done before the line
    const read = await bytesRead(async () => {
      await pull()
      await pull(`1000000-${size - 2}`)
    })
    if (sendfile) assert.ok(read < size / 2, `${read} bytes were read`)
    else assert.ok(read >= 2 * size - 1_000_001, `${read} bytes were read`)
  })
}

test(
  'a blob that is asked for again and again is sent out of memory, as long as it is stored',
  { skip: process.platform !== 'linux' && 'only Linux is asked' },
  async () => {
    await using folder = await temporaryFolder()
    {
      await using app = await startAppUnderTest({
        storage: { filesystem: { rootdirectory: folder.path }, delete: { enabled: true } },
        http: { addr: '127.0.0.1:0', draintimeout: '0s' },
      })
      const blobs = [randomBytes(1024 * 1024), randomBytes(300_000), randomBytes(200_000)]
      const digests = await Promise.all(blobs.map(async (bytes) => await push(app.url, bytes)))
      const url = (digest: string): string => `${app.url}/v2/app/blobs/${digest}`
      await loadSendfile()
      for (const [nth, bytes] of blobs.entries()) {
        for (let time = 0; time < 5; time++) {
          const answer = await fetch(url(digests[nth] ?? ''))
          assert.ok(bytes.equals(Buffer.from(await answer.arrayBuffer())))
        }
      }
      assert.equal(openMemoryFiles(), 2, 'the third one is small')
      assert.equal((await fetch(url(digests[0] ?? ''), { method: 'DELETE' })).status, 202)
      assert.equal((await fetch(url(digests[0] ?? ''))).status, 404)
      const range = await fetch(url(digests[1] ?? ''), { headers: { range: 'bytes=10-299000' } })
      assert.ok(Buffer.from(await range.arrayBuffer()).equals((blobs[1] ?? Buffer.alloc(0)).subarray(10, 299_001)))
    }
    assert.equal(openMemoryFiles(), 0)
  },
)

test(
  'what is encrypted comes out of memory of our own, also where requests wait for each other',
  { skip: process.platform !== 'linux' && 'only Linux is asked' },
  async () => {
    await using folder = await temporaryFolder()
    const { certificate, key } = selfSigned()
    const tls = { certificate: await folder.write('a.pem', certificate), key: await folder.write('a.key', key) }
    await using app = await startAppUnderTest({
      storage: { filesystem: { rootdirectory: join(folder.path, 'storage') } },
      http: { addr: '127.0.0.1:0', draintimeout: '0s', tls },
    })
    const bytes = randomBytes(1024 * 1024)
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    const { port } = new URL(app.url)
    const socket = connect({ port: Number(port), rejectUnauthorized: false })
    const lines = ['POST', `/v2/app/blobs/uploads/?digest=${digest}`, 'HTTP/1.1\r\nhost: a\r\ncontent-type:']
    socket.write(`${lines.join(' ')} application/octet-stream\r\ncontent-length: ${bytes.byteLength}\r\n\r\n`)
    socket.write(bytes)
    assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1.1 201 /)
    const times = 10
    for (let time = 0; time < times; time++) socket.write(`GET /v2/app/blobs/${digest} HTTP/1.1\r\nhost: a\r\n\r\n`)
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of socket) {
      chunks.push(chunk)
      length += chunk.byteLength
      if (length > times * bytes.byteLength && Buffer.concat(chunks).subarray(-bytes.byteLength).equals(bytes)) break
    }
    const come = Buffer.concat(chunks)
    let at = 0
    for (let time = 0; time < times; time++) {
      at = come.indexOf('\r\n\r\n', at) + 4
      assert.ok(come.subarray(at, at + bytes.byteLength).equals(bytes))
      at += bytes.byteLength
    }
    assert.equal(openMemoryFiles(), 0)
  },
)
