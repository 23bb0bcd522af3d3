// Replies on their way out.
import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { EncryptedAnswers, sendReply } from '../../src/http/send.ts'
import { streamOf } from '../support/stream-of.ts'

const chunk = 1024 * 1024

const body = 2 * chunk + 17

/** Writes that no client takes until it does. */
const waiting: (() => void)[] = []
let isTaken = true

/** Sends a reply of three chunks. Resolves with what it has handed to its connection in one go at most. */
async function largestWrite(encrypted?: EncryptedAnswers): Promise<number> {
  let largest = 0
  const socket = Object.assign(new Socket(), {
    _writev: null,
    _write(bytes: Uint8Array | string, _: unknown, done: () => void) {
      largest = Math.max(largest, Buffer.byteLength(bytes))
      waiting.push(done)
      if (isTaken) for (const go of waiting.splice(0)) go()
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
  assert.equal(await largestWrite(answers), 256 * 1024)
  isTaken = false
  const many = Array.from({ length: 1023 }, async () => await largestWrite(answers))
  await turn()
  isTaken = true
  const [shared, own] = [largestWrite(answers), largestWrite(new EncryptedAnswers())]
  assert.equal(await shared, 62_500)
  assert.equal(await own, 256 * 1024, 'another listener shares nothing with them')
  await Promise.all(many)
  assert.equal(await largestWrite(answers), 256 * 1024, 'those that have ended count no more')
})

test('P7: however many they are, each may hand over a record of TLS at a time, and no more', () => {
  const answers = new EncryptedAnswers()
  for (let count = 0; count < 10_000; count += 1) answers.begin()
  assert.equal(answers.share, 16 * 1024)
  for (let count = 0; count < 9_900; count += 1) answers.end()
  assert.equal(answers.share, 256 * 1024)
})
