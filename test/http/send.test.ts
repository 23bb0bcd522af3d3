// Replies on their way out.
import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { sendReply } from '../../src/http/send.ts'
import { streamOf } from '../support/stream-of.ts'

const chunk = 1024 * 1024

/** What a reply of three chunks hands to its connection in one go at most. */
async function largestWrite(kind: object): Promise<number> {
  let largest = 0
  const socket = Object.assign(new Socket(), kind, {
    _writev: null,
    _write(bytes: Uint8Array | string, _: unknown, done: () => void) {
      largest = Math.max(largest, Buffer.byteLength(bytes))
      done()
    },
  })
  const request = Object.assign(new IncomingMessage(socket), {
    method: 'GET',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
  })
  const response = new ServerResponse(request)
  response.assignSocket(socket)
  const sent = { bytes: 0 }
  const body = streamOf(Buffer.alloc(chunk), Buffer.alloc(chunk), Buffer.alloc(17))
  await sendReply(response, { status: 200, headers: { 'content-length': 2 * chunk + 17 }, body }, sent)
  assert.equal(sent.bytes, 2 * chunk + 17)
  return largest
}

test('P7: what is encrypted for a client that may not take it is little, for it stands in memory', async () => {
  assert.equal(await largestWrite({ encrypted: true }), 64 * 1024)
  assert.equal(await largestWrite({}), chunk, 'without TLS it stands there anyway')
})
