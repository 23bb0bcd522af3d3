// Names against readers that go character by character, without a regular expression.
import assert from 'node:assert/strict'
import { isDigest } from '../../src/oci/digest.ts'
import { isRepositoryName, isTag } from '../../src/oci/reference.ts'
import { randomDigest, randomName, randomTag, strange } from '../support/random-names.ts'
import { mutated, property } from '../support/seeded.ts'

const lower = 'abcdefghijklmnopqrstuvwxyz'
const digits = '0123456789'

/** A component is words; between two words stands `.`, `_`, `__` or dashes. */
function isComponent(text: string): boolean {
  let separator = ''
  let words = 0
  for (const character of text) {
    if (lower.includes(character) || digits.includes(character)) {
      if (words === 0 && separator !== '') return false
      if (separator !== '' && separator !== '.' && separator !== '_' && separator !== '__') {
        for (const one of separator) if (one !== '-') return false
      }
      separator = ''
      words++
    } else if ('._-'.includes(character)) separator += character
    else return false
  }
  return words > 0 && separator === ''
}

function isNameByHand(text: string): boolean {
  return text.length <= 255 && text.split('/').every(isComponent)
}

function isTagByHand(text: string): boolean {
  const word = `${lower}${lower.toUpperCase()}${digits}_`
  if (text.length < 1 || text.length > 128 || !word.includes(text.charAt(0))) return false
  for (let at = 1; at < text.length; at++) if (!`${word}.-`.includes(text.charAt(at))) return false
  return true
}

function isDigestByHand(text: string): boolean {
  const length = text.startsWith('sha256:') ? 64 : text.startsWith('sha512:') ? 128 : -1
  if (length < 0 || text.length !== 7 + length) return false
  for (let at = 7; at < text.length; at++) if (!`${digits}abcdef`.includes(text.charAt(at))) return false
  return true
}

property('a repository name of the grammar is one, and a changed one is what a reader by hand says', (random) => {
  const name = randomName(random)
  assert.ok(isRepositoryName(name), name)
  assert.ok(isNameByHand(name), name)
  const other = mutated(random, name, strange)
  assert.equal(isRepositoryName(other), isNameByHand(other), JSON.stringify(other))
  const long = `${name}/${random.text('ab/', 240, 260)}`
  assert.equal(isRepositoryName(long), isNameByHand(long), long)
})

property('a tag of the grammar is one, and a changed one is what a reader by hand says', (random) => {
  const tag = randomTag(random)
  assert.ok(isTag(tag) && isTagByHand(tag), tag)
  const other = mutated(random, tag, strange)
  assert.equal(isTag(other), isTagByHand(other), JSON.stringify(other))
})

property('what reads as a digest is one, and no text is a digest and a tag', (random) => {
  const digest = randomDigest(random)
  assert.ok(isDigest(digest) && !isTag(digest), digest)
  const text = mutated(random, random.oneIn(2) ? digest : randomTag(random), strange)
  assert.equal(isDigest(text), isDigestByHand(text), JSON.stringify(text))
  assert.ok(!isDigest(text) || !isTag(text), JSON.stringify(text))
})
