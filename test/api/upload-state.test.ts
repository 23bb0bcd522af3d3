import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signUploadState, verifyUploadState, type UploadState } from '../../src/api/upload-state.ts'
import { parseRepositoryName } from '../../src/oci/reference.ts'
import type { UploadId } from '../../src/registry/store.ts'
import { randomName } from '../support/random-names.ts'
import { mutated, property, type Random } from '../support/seeded.ts'

const secret = 'a secret'
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \n\0%'

function randomState(random: Random): UploadState {
  const hex = (length: number): string => random.text('0123456789abcdef', length, length)
  const id = `${hex(8)}-${hex(4)}-${hex(4)}-${hex(4)}-${hex(12)}` as UploadId
  return { name: randomName(random), id, offset: random.int(2 ** 40), startedAt: new Date(random.int(2 ** 41)) }
}

test('the state has the form that distribution gives it', () => {
  const name = parseRepositoryName('a/b')
  const startedAt = new Date('2026-01-02T03:04:05Z')
  const text = signUploadState({ name, id: 'x', offset: 7, startedAt }, secret)
  const bytes = Buffer.from(text, 'base64url')
  assert.equal(text.length % 4, 0)
  assert.deepEqual(JSON.parse(bytes.subarray(32).toString()), {
    Name: 'a/b',
    UUID: 'x',
    Offset: 7,
    StartedAt: '2026-01-02T03:04:05.000Z',
  })
})

test('P7: a text that is longer than any state is refused before its signature is looked at', () => {
  const name = parseRepositoryName('a/b')
  const state = { name, id: 'x'.repeat(1000), offset: 7, startedAt: new Date() }
  assert.equal(verifyUploadState(signUploadState(state, secret), name, state.id, secret), undefined)
})

test('padding is that of base64url, or left out', () => {
  const name = parseRepositoryName('a/b')
  const paddings = ['x', 'xx', 'xxx'].map((id) => {
    const text = signUploadState({ name, id, offset: 7, startedAt: new Date() }, secret)
    const bare = text.replace(/=*$/, '')
    for (const same of [text, bare]) assert.deepEqual(verifyUploadState(same, name, id, secret), { offset: 7 })
    assert.equal(verifyUploadState(`${text}===`, name, id, secret), undefined)
    return text.length - bare.length
  })
  assert.deepEqual(new Set(paddings), new Set([0, 1, 2]))
})

property('a state says its offset to its own session only', (random) => {
  const state = randomState(random)
  const text = signUploadState(state, secret)
  assert.deepEqual(verifyUploadState(text, state.name, state.id, secret), { offset: state.offset })
  const other = randomState(random)
  const refusals = [
    () => verifyUploadState(text, state.name, other.id, secret),
    () => verifyUploadState(text, parseRepositoryName(state.name === 'x' ? 'y' : 'x'), state.id, secret),
    () => verifyUploadState(text, state.name, state.id, 'another secret'),
  ] as const
  assert.equal(random.pick(refusals)(), undefined)
})

property('a state of which any bit was turned is none', (random) => {
  const state = randomState(random)
  const text = signUploadState(state, secret)
  const bytes = Buffer.from(text, 'base64url')
  const at = random.int(bytes.byteLength)
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(8))
  assert.equal(verifyUploadState(bytes.toString('base64url'), state.name, state.id, secret), undefined)
  const letters = Buffer.from(text)
  const letter = random.int(letters.byteLength)
  letters[letter] = (letters[letter] ?? 0) ^ (1 << random.int(7))
  assert.equal(verifyUploadState(letters.toString(), state.name, state.id, secret), undefined, letters.toString())
})

property('a state of which a letter was changed, or a field put in from another, is none', (random) => {
  const state = randomState(random)
  const text = signUploadState(state, secret)
  const changed = mutated(random, text, alphabet)
  const isSame = changed === text || changed === text.replace(/=+$/, '')
  if (!isSame) assert.equal(verifyUploadState(changed, state.name, state.id, secret), undefined, changed)
  const other = randomState(random)
  const field = random.pick(['name', 'id', 'offset', 'startedAt'])
  const mixed: UploadState = { ...state, [field]: other[field] }
  const forged = Buffer.from(signUploadState(mixed, 'not the secret'), 'base64url')
  Buffer.from(text, 'base64url').copy(forged, 0, 0, 32) // under the signature of the true one
  if (other[field] === state[field]) return
  assert.equal(verifyUploadState(forged.toString('base64url'), mixed.name, mixed.id, secret), undefined)
})
