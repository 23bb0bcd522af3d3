// Names, tags and digests: src/oci/reference.ts, src/oci/digest.ts.
import assert from 'node:assert/strict'
import { algorithmOf, DigestError, hexOf, parseDigest } from '../../../src/oci/digest.ts'
import { NameError, parseRepositoryName, parseTag } from '../../../src/oci/reference.ts'
import type { Target } from '../fuzzer.ts'

/** What it is read as, or nothing where it is refused as it should be. */
function read<T>(parse: (text: string) => T, text: string): T | undefined {
  try {
    return parse(text)
  } catch (error) {
    assert.ok(error instanceof NameError || error instanceof DigestError, String(error))
    return undefined
  }
}

export const target: Target = {
  seeds: ['a', 'a/b-c/d__e.f', 'latest', 'v1.2.3', `sha256:${'0a'.repeat(32)}`, `sha512:${'f'.repeat(128)}`],
  words: ['sha256:', 'sha512:', 'md5:', '/', '--', '__', '._', '..', 'A', '_', '\n', '%'],
  check(input) {
    const digest = read(parseDigest, input)
    if (digest !== undefined) assert.equal(`${algorithmOf(digest)}:${hexOf(digest)}`, input)
    const [name, tag] = [read(parseRepositoryName, input), read(parseTag, input)]
    assert.ok(digest === undefined || tag === undefined) // a reference has one reading
    assert.ok(
      name === undefined || (name === input && name.split('/').every((part) => /^[a-z\d][a-z\d._-]*$/.test(part))),
    )
  },
}
