// What is stored leaves without being read here, where the system can send it and nobody has to look at it.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { loadSendfile } from '../../src/http/sendfile.ts'
import { startAppUnderTest, temporaryFolder } from '../support/app-under-test.ts'
import { bytesRead } from '../support/bytes-read.ts'

const size = 8 * 1024 * 1024

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
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    const pushed = await fetch(`${app.url}/v2/app/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: bytes,
    })
    assert.equal(pushed.status, 201)
    const pull = async (range?: string): Promise<void> => {
      const headers: Record<string, string> = range === undefined ? {} : { range: `bytes=${range}` }
      const answer = await fetch(`${app.url}/v2/app/blobs/${digest}`, { headers })
      const [start = 0, last = size - 1] = (range ?? '').split('-').filter(Boolean).map(Number)
      assert.ok(bytes.subarray(start, last + 1).equals(Buffer.from(await answer.arrayBuffer())))
    }
    await loadSendfile() // which a server does when its first large answer has left
    await pull() // and what was pushed is proven while it is read for the first time
    const read = await bytesRead(async () => {
      await pull()
      await pull(`1000000-${size - 2}`)
    })
    if (sendfile) assert.ok(read < size / 2, `${read} bytes were read`)
    else assert.ok(read >= 2 * size - 1_000_001, `${read} bytes were read`)
  })
}
