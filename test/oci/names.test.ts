import assert from 'node:assert/strict'
import { test } from 'node:test'
import { algorithmOf, digestOf, hexOf, isDigest, parseDigest } from '../../src/oci/digest.ts'
import { isRepositoryName, isTag } from '../../src/oci/reference.ts'

const hex = 'a'.repeat(64)

test('repository names follow the grammar of the specification', () => {
  for (const name of ['a', 'a/b.c/d__e/f---g', 'library/alpine', '0/1', 'a'.repeat(255), 'docker.io/library/alpine']) {
    assert.ok(isRepositoryName(name), name)
  }
  const bad = [
    '',
    'A',
    'a..b',
    'a___b',
    '-a',
    'a-',
    'a/',
    '/a',
    'a//b',
    'a b',
    'a:b',
    '_catalog',
    'é',
    'a\n',
    '..',
    'a/../b',
  ]
  for (const name of [...bad, 'a'.repeat(256), 'a%2fb', 'a\\b', 'a\0']) assert.ok(!isRepositoryName(name), name)
})

test('tags follow the grammar of the specification', () => {
  for (const tag of ['latest', '1.2-3_4', '_', 'A', 'a'.repeat(128)]) assert.ok(isTag(tag), tag)
  for (const tag of ['', '.a', '-a', 'a:b', 'a/b', 'a\n', 'a'.repeat(129), 'ä']) assert.ok(!isTag(tag), tag)
})

test('digests have a known algorithm, its length, and lower case hex', () => {
  assert.ok(isDigest(`sha256:${hex}`))
  assert.ok(isDigest(`sha512:${hex}${hex}`))
  const bad = [hex, `sha256:${hex}a`, `sha256:${hex.slice(1)}`, `sha256:${hex.toUpperCase()}`, `md5:${hex.slice(32)}`]
  for (const text of [...bad, `sha512:${hex}`, 'sha256:../..', `__proto__:${hex}`, `sha256:${hex}\n`]) {
    assert.ok(!isDigest(text), text)
  }
})

test('a digest falls apart into algorithm and hex', () => {
  const digest = parseDigest(`sha512:${hex}${hex}`)
  assert.equal(algorithmOf(digest), 'sha512')
  assert.equal(hexOf(digest), hex + hex)
  assert.equal(digestOf(''), 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
})

test('a digest is no tag, and its hex alone is one', () => {
  assert.deepEqual([isTag(`sha256:${hex}`), isTag(hex), isTag('sha256:beef')], [false, true, false])
})
