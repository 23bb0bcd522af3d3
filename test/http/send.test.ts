// Replies on their way out.
import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { EncryptedAnswers, sendReply } from '../../src/http/send.ts'
import { streamOf } from '../support/stream-of.ts'

const chunk = 1024 * 1024

const body = 2 * chunk + 17

/** Sends a reply of three chunks. Resolves with what it has handed to its connection in one go at most. */
async function largestWrite(encrypted?: EncryptedAnswers): Promise<number> {
  let largest = 0
  const socket = Object.assign(new Socket(), {
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
  const stream = streamOf(Buffer.alloc(chunk), Buffer.alloc(chunk), Buffer.alloc(17))
  await sendReply(response, { status: 200, headers: { 'content-length': body }, body: stream }, sent, {
    encrypted,
  })
  assert.equal(sent.bytes, body)
  return largest
}

test('P7: what is encrypted for clients that may not take it is little, and the less the more they are', async () => {
  assert.equal(await largestWrite(), chunk, 'without TLS it stands in memory anyway')
  const answers = new EncryptedAnswers()
  for (let count = 1; count < 8; count += 1) answers.begin()
  assert.equal(await largestWrite(answers), 256 * 1024, 'the eighth of few')
  answers.begin()
  assert.equal(await largestWrite(answers), 49_000)
  for (let count = 9; count < 3200; count += 1) answers.begin()
  assert.equal(await largestWrite(answers), 20_000)
  assert.equal(await largestWrite(new EncryptedAnswers()), 256 * 1024, 'another listener shares nothing with them')
  for (let count = 3200; count < 10_000; count += 1) answers.begin()
  assert.equal(await largestWrite(answers), 16 * 1024, 'a record of TLS in any case')
  for (let count = 1; count < 10_000; count += 1) answers.end()
  assert.equal(await largestWrite(answers), 256 * 1024, 'those that have ended count no more')
})
