import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { Answer } from '../../src/upstream/answer.ts'
import { failure } from './fixture.ts'

/** An answer with a body of ours, which says nothing itself of a length that was announced. */
function answerOf(chunks: readonly string[] | undefined, announced: number): Answer {
  const source = chunks?.map((chunk) => Buffer.from(chunk))
  const body = source === undefined ? new Readable({ read: () => {} }) : Readable.from(source)
  return new Answer({
    url: new URL('http://registry.example/v2/'),
    status: 200,
    headers: { 'content-length': String(announced) },
    body: Object.assign(body, { dump: async () => void body.destroy() }),
    signal: undefined,
    patience: 10_000,
    received: { bytes: 0 },
  })
}

test('P1: of a body that is longer than announced nothing behind that length is passed on', async () => {
  const answer = answerOf(['01', '234', '567'], 5)
  let passedOn = ''
  const taken = async (): Promise<void> => {
    for await (const chunk of answer.stream(5)) passedOn += Buffer.from(chunk).toString()
  }
  await failure(taken(), 'invalid')
  assert.equal(passedOn, '01234')
})

test('P1: a body that is shorter than announced is not taken for whole', async () => {
  const answer = answerOf(['01', '23'], 5)
  await failure(Array.fromAsync(answer.stream(5)), 'unavailable')
})

test('P7: a document that is announced to be too large is refused before it comes', async () => {
  await failure(answerOf(undefined, 101).collect(100), 'invalid')
})
