// The signed state of uploads: src/api/upload-state.ts.
import assert from 'node:assert/strict'
import { signUploadState, verifyUploadState } from '../../../src/api/upload-state.ts'
import { parseRepositoryName } from '../../../src/oci/reference.ts'
import type { Target } from '../fuzzer.ts'

const [name, id, secret] = [parseRepositoryName('a/b'), '6f9619ff-8b86-4d01-b42d-00cf4fc964ff', 'a secret']
const states = [0, 1, 5_000_000_000].map((offset) =>
  signUploadState({ name, id, offset, startedAt: new Date(0) }, secret),
)
const others = [
  signUploadState({ name: parseRepositoryName('a'), id: `b${id}`, offset: 1, startedAt: new Date(0) }, secret),
  signUploadState({ name, id, offset: 1, startedAt: new Date(0) }, 'another'),
]
const accepted = [...states, ...states.map((text) => text.replace(/=+$/, ''))]

export const target: Target = {
  seeds: [...states, ...others],
  words: ['=', '==', '-', '_', '+', '/', 'A', 'eyJ', '\0'],
  check(input) {
    const verified = verifyUploadState(input, name, id, secret)
    assert.equal(verified !== undefined, accepted.includes(input), 'what we have signed for it, and no more')
  },
}
