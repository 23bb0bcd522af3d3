// How often what is stored is proven: `storage.verify`.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { RangeNotSatisfiableError } from '../../src/oci/error.ts'
import type { WritableRepository } from '../../src/registry/store.ts'
import { blobPath, damagedPath } from '../../src/storage/layout.ts'
import { Proofs, type ProofPolicy } from '../../src/storage/proofs.ts'
import { pattern } from '../drivers/conformance.ts'
import { hasError } from '../support/errors.ts'
import { faultyDriver, type FaultyDriver } from '../support/faulty-driver.ts'
import { manifestOf, name, openStore, push } from './fixture.ts'

const large = pattern(200_000)
const small = pattern(1000)
const policies: readonly ProofPolicy[] = ['first', 'always', 'never']

interface Stored {
  readonly driver: FaultyDriver
  readonly repository: WritableRepository
}

/** A restarted process on a tree that holds both blobs. */
async function restarted(verify: ProofPolicy): Promise<Stored> {
  const driver = faultyDriver(inMemoryDriver())
  const before = openStore(driver).repository(name)
  for (const bytes of [large, small]) await push(before, bytes)
  return { driver, repository: openStore(driver, undefined, verify).repository(name) }
}

/** Files that one reading of a blob opens: its own, and the proof's where there is one. */
async function opensOf({ driver, repository }: Stored, bytes: Buffer): Promise<number> {
  driver.arm(0)
  const { body } = await repository.blobs.open(digestOf(bytes))
  assert.ok((await collect(body, bytes.byteLength)).equals(bytes))
  return driver.calls.filter(({ method }) => method === 'open').length
}

suite('storage.verify', () => {
  for (const policy of policies) {
    test(`${policy}: a file whose bytes could not be read is not served as it lies, until it has been found right`, () => {
      const proofs = new Proofs({ policy, onDamage: async () => {} })
      proofs.add(digestOf(small), 'one')
      proofs.doubt(digestOf(small), 'one')
      assert.equal(proofs.trusts(digestOf(small), 'one'), false)
      proofs.add(digestOf(small), 'one')
      assert.equal(proofs.trusts(digestOf(small), 'one'), policy !== 'always')
    })
  }

  const readings: readonly (readonly [ProofPolicy, first: number, second: number])[] = [
    ['first', 2, 1],
    ['always', 2, 2],
    ['never', 1, 1],
  ]
  for (const [policy, first, second] of readings) {
    test(`${policy}: the first reading of a large blob opens ${first} files, the second ${second}`, async () => {
      const stored = await restarted(policy)
      assert.equal(await opensOf(stored, large), first)
      assert.equal(await opensOf(stored, large), second)
    })

    test(`${policy}: a small blob is read once, and from memory after that`, async () => {
      const stored = await restarted(policy)
      assert.equal(await opensOf(stored, small), 1)
      assert.equal(await opensOf(stored, small), 0)
    })
  }

  test('P1: always, what rots after it was proven is found, set aside and unknown', async () => {
    const { driver, repository } = await restarted('always')
    const digest = digestOf(large)
    await opensOf({ driver, repository }, large)
    rot(driver, digest)
    const reading = (async () => await collect((await repository.blobs.open(digest)).body, large.byteLength))()
    await assert.rejects(reading, { name: 'DigestMismatchError' })
    await assert.rejects(repository.blobs.open(digest), hasError('BLOB_UNKNOWN'))
    await driver.stat(damagedPath(digest))
  })

  test('whenever it is proven, a range that no byte satisfies is an error of the client', async () => {
    for (const policy of policies) {
      const { repository } = await restarted(policy)
      for (let time = 0; time < 2; time++) {
        const range = { start: large.byteLength }
        await assert.rejects(repository.blobs.open(digestOf(large), { range }), RangeNotSatisfiableError)
      }
    }
  })

  test('never, what is stored is served as it lies', async () => {
    for (const bytes of [large, small]) {
      const { driver, repository } = await restarted('never')
      const wrong = flipped(bytes)
      await driver.write(blobPath(digestOf(bytes)), wrong)
      const { body } = await repository.blobs.open(digestOf(bytes))
      assert.ok((await collect(body, bytes.byteLength)).equals(wrong))
    }
  })

  test('P1: never, a file of another size than is known is proven all the same', async () => {
    for (const bytes of [large, small]) {
      const { driver, repository } = await restarted('never')
      const digest = digestOf(bytes)
      await repository.blobs.stat(digest)
      await driver.write(blobPath(digest), bytes.subarray(1))
      await assert.rejects(repository.blobs.open(digest), hasError('BLOB_UNKNOWN'))
      await driver.stat(damagedPath(digest))
    }
  })

  test('manifests are proven whenever they come from storage, but for never', async () => {
    for (const policy of policies) {
      const driver = inMemoryDriver()
      const bytes = manifestOf('stored')
      const other = manifestOf('others')
      const { descriptor } = await openStore(driver).repository(name).manifests.put(bytes)
      await driver.write(blobPath(descriptor.digest), other)
      const { manifests } = openStore(driver, undefined, policy).repository(name)
      if (policy === 'never') assert.ok(other.equals((await manifests.get(descriptor.digest)).bytes))
      else await assert.rejects(manifests.get(descriptor.digest), hasError('MANIFEST_UNKNOWN'), policy)
    }
  })
})

/** Changes a file's bytes behind the file system's back: its version stays. */
function rot(driver: FaultyDriver, digest: Digest): void {
  const open = driver.open.bind(driver)
  driver.open = async (path, range) => {
    const file = await open(path, range)
    if (path !== blobPath(digest)) return file
    const chunks = (async function* (): AsyncGenerator<Uint8Array, void> {
      for await (const chunk of file) yield flipped(chunk)
    })()
    return {
      size: file.size,
      version: file.version,
      [Symbol.asyncIterator]: () => chunks,
      [Symbol.asyncDispose]: async () => await file[Symbol.asyncDispose](),
    }
  }
}

function flipped(bytes: Uint8Array): Buffer {
  const changed = Buffer.from(bytes)
  changed[0] = (changed[0] ?? 0) ^ 1
  return changed
}
