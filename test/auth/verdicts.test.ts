import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Verdicts } from '../../src/auth/verdicts.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import type {
  AskedObject,
  CallerCredentials,
  CallerQuestion,
  CallerVerdict,
  ClaimedRepository,
} from '../../src/registry/caller-rights.ts'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import { hasError } from '../support/errors.ts'

const alice = { kind: 'password', username: 'alice', password: 'secret' } as const
const tag: AskedObject = { kind: 'tag', tag: parseTag('1') }
const blob: AskedObject = { kind: 'blob', digest: digestOf(Buffer.from('a')) }

interface Setting {
  readonly questions: CallerQuestion[]
  readonly ask: (
    object: AskedObject | undefined,
    credentials?: CallerCredentials,
    name?: string,
    upstream?: string,
  ) => Promise<boolean>
  now: number
  answer: () => Promise<CallerVerdict>
}

function setting(): Setting {
  const verdicts = new Verdicts({ clock: () => it.now })
  const questions: CallerQuestion[] = []
  const rights: ClaimedRepository['rights'] = {
    async ask(question) {
      questions.push(question)
      return await it.answer()
    },
  }
  const it: Setting = {
    questions,
    now: 0,
    answer: async () => ({ mayPull: true, isForAll: true }),
    ask: async (object, credentials = alice, name = 'team/app', upstream = 'priv') =>
      await verdicts.mayPull({ upstream, repository: parseRepositoryName(name), rights }, object, credentials),
  }
  return it
}

test('a yes counts for a minute, for all of the repository', async () => {
  const it = setting()
  assert.equal(await it.ask(tag), true)
  it.now = 59_999
  assert.equal(await it.ask(blob), true)
  assert.equal(await it.ask(undefined), true)
  assert.equal(it.questions.length, 1)
  it.now = 60_000
  it.answer = async () => ({ mayPull: false, isForAll: false })
  assert.equal(await it.ask(blob), false)
  assert.equal(it.questions.length, 2)
})

test('a no counts for ten seconds, and what is about one object for that object alone', async () => {
  const it = setting()
  it.answer = async () => ({ mayPull: false, isForAll: false })
  assert.equal(await it.ask(tag), false)
  it.now = 9_999
  assert.equal(await it.ask(tag), false)
  assert.equal(it.questions.length, 1)
  it.answer = async () => ({ mayPull: true, isForAll: false })
  assert.equal(await it.ask(blob), true)
  assert.equal(await it.ask(tag), false)
  it.now = 10_000
  assert.equal(await it.ask(tag), true)
})

test('no verdict is anybody else’s: another password, another name, another form of the same text', async () => {
  const it = setting()
  await it.ask(tag)
  it.answer = async () => ({ mayPull: false, isForAll: true })
  assert.equal(await it.ask(tag, { ...alice, password: 'secrets' }), false)
  assert.equal(await it.ask(tag, { ...alice, username: 'alices' }), false)
  assert.equal(await it.ask(tag, { kind: 'password', username: 'alic', password: 'esecret' }), false)
  assert.equal(await it.ask(tag, { kind: 'registry-token', token: 'secret' }), false)
  assert.equal(await it.ask(tag, { kind: 'anonymous' }), false)
  assert.equal(await it.ask(tag, alice, 'team/app2'), false)
  assert.equal(await it.ask(tag), true)
})

test('P8: no upstream’s verdict is another’s, though their repositories have one name', async () => {
  for (const isForAll of [true, false]) {
    const it = setting()
    it.answer = async () => ({ mayPull: true, isForAll })
    assert.equal(await it.ask(tag), true)
    it.answer = async () => ({ mayPull: false, isForAll })
    assert.equal(await it.ask(tag, alice, 'team/app', 'other'), false)
    assert.equal(await it.ask(tag), true)
    assert.equal(it.questions.length, 2)
  }
})

test('what cannot be said is not remembered, but that the upstream wants to be left alone', async () => {
  const it = setting()
  it.answer = async () => {
    throw new UpstreamError('unreachable', 'up.example', 'up.example cannot be reached')
  }
  await assert.rejects(it.ask(tag), hasError('UNAVAILABLE'))
  await assert.rejects(it.ask(tag), hasError('UNAVAILABLE'))
  assert.equal(it.questions.length, 2)
  it.answer = async () => {
    throw new UpstreamError('rate-limited', 'up.example', 'up.example answered 429', { retryAfter: 7 })
  }
  await assert.rejects(it.ask(tag), hasError('TOOMANYREQUESTS'))
  it.answer = async () => ({ mayPull: true, isForAll: true })
  await assert.rejects(it.ask(tag), hasError('TOOMANYREQUESTS'))
  assert.equal(it.questions.length, 3)
  it.now = 10_000
  assert.equal(await it.ask(tag), true)
})

test('P7: beyond a bound of questions that run, clients are told to come again', async () => {
  const it = setting()
  const held = Promise.withResolvers<CallerVerdict>()
  it.answer = async () => await held.promise
  const running = Array.from({ length: 256 }, async (_, nth) => await it.ask(tag, { ...alice, password: String(nth) }))
  await assert.rejects(it.ask(tag), hasError('TOOMANYREQUESTS'))
  held.resolve({ mayPull: true, isForAll: true })
  assert.equal((await Promise.all(running)).length, 256)
  assert.equal(await it.ask(tag), true)
})

test('an error that is nobody’s answer is thrown as it is', async () => {
  const it = setting()
  const own = new TypeError('ours')
  it.answer = async () => {
    throw own
  }
  await assert.rejects(it.ask(tag), (error) => error === own)
})
