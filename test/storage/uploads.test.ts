import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { deferred } from '../../src/async/deferred.ts'
import { collect } from '../../src/bytes/stream.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { UploadId } from '../../src/registry/store.ts'
import { blobPath, fillPath, uploadDataPath, uploadFolder, uploadStartedAtPath } from '../../src/storage/layout.ts'
import { owner } from '../../src/drivers/process-owner.ts'
import { isUploadId } from '../../src/storage/upload.ts'
import { pattern } from '../drivers/conformance.ts'
import { hasError } from '../support/errors.ts'
import { absent, chunksOf, name, push, storageSuite } from './fixture.ts'

const mebibyte = 1024 * 1024

storageSuite('uploads', (check) => {
  check('chunks of any size become one blob', async ({ repository }) => {
    for (const [size, chunk] of [
      [0, 1],
      [1, 1],
      [10_000, 7],
      [mebibyte, 1000],
      [3 * mebibyte + 5, 65_536],
      [5 * mebibyte, 2 * mebibyte],
    ] as const) {
      const bytes = pattern(size, chunk)
      await using upload = await repository.uploads.create()
      await upload.append(chunksOf(bytes, chunk))
      assert.equal(upload.size, size)
      const descriptor = await upload.commit(digestOf(bytes))
      assert.equal(descriptor.size, size)
      const { body } = await repository.blobs.open(descriptor.digest)
      assert.ok((await collect(body, size)).equals(bytes))
    }
  })

  check('the session lies where distribution has it', async ({ repository, driver }) => {
    const before = Math.floor(Date.now() / 1000) * 1000
    const upload = await repository.uploads.create()
    await upload.append(chunksOf(Buffer.from('half'), 4))
    await upload.close()
    const folder = `/docker/registry/v2/repositories/library/app/_uploads/${upload.id}`
    assert.deepEqual(await driver.list(folder), ['data', 'startedat'])
    assert.equal((await driver.read(`${folder}/data`, 10)).toString(), 'half')
    const startedAt = (await driver.read(`${folder}/startedat`, 100)).toString()
    assert.match(startedAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    assert.ok(Date.parse(startedAt) >= before)
  })

  check('a session goes on where it was left, in this process or another', async ({ repository, restart }) => {
    const bytes = pattern(mebibyte)
    const first = await repository.uploads.create()
    await first.append(chunksOf(bytes.subarray(0, 300_000), 100_000))
    await first.close()
    const second = await repository.uploads.resume(first.id)
    assert.equal(second.size, 300_000)
    assert.ok(Math.abs(second.startedAt.getTime() - first.startedAt.getTime()) < 1000)
    await second.append(chunksOf(bytes.subarray(300_000, 500_000), 100_000))
    await second.close()
    await using third = await restart().repository(name).uploads.resume(first.id)
    assert.equal(third.size, 500_000)
    await third.append(chunksOf(bytes.subarray(500_000), 100_000))
    assert.equal((await third.commit(digestOf(bytes))).size, mebibyte)
    assert.ok((await collect((await repository.blobs.open(digestOf(bytes))).body, mebibyte)).equals(bytes))
    await assert.rejects(repository.uploads.resume(first.id), hasError('BLOB_UPLOAD_UNKNOWN'))
  })

  check('bytes that this process has hashed are not read again', async ({ repository, driver }) => {
    const bytes = pattern(300_000)
    const first = await repository.uploads.create()
    await first.append(chunksOf(bytes, 100_000))
    await first.close()
    driver.arm(0)
    await using second = await repository.uploads.resume(first.id)
    await second.verify(digestOf(bytes))
    await second.commit(digestOf(bytes))
    assert.deepEqual(
      driver.calls.filter(({ method }) => method === 'open'),
      [],
    )
  })

  check('an unknown session is unknown', async ({ repository }) => {
    for (const id of [randomUUID(), '', 'x', '..', '../../_layers', `${randomUUID()}/data`, 'x'.repeat(5000)]) {
      await assert.rejects(repository.uploads.resume(id), hasError('BLOB_UPLOAD_UNKNOWN'), id)
    }
  })

  check('a session whose start is unreadable goes on', async ({ repository, driver }) => {
    const first = await repository.uploads.create()
    await first.append(chunksOf(Buffer.from('bytes'), 5))
    await first.close()
    await driver.write(uploadStartedAtPath(name, first.id), Buffer.from(''))
    await using second = await repository.uploads.resume(first.id)
    assert.equal(second.size, 5)
    assert.ok(Math.abs(second.startedAt.getTime() - Date.now()) < 60_000)
    await second.commit(digestOf('bytes'))
  })

  check('bytes that do not match are refused, and the session is gone', async ({ repository, driver, store }) => {
    await using upload = await repository.uploads.create()
    await upload.append(chunksOf(Buffer.from('other bytes'), 4))
    await assert.rejects(upload.verify(absent), hasError('DIGEST_INVALID'))
    await assert.rejects(upload.commit(absent), hasError('DIGEST_INVALID'))
    assert.equal(await store.content.find(absent), undefined)
    assert.equal(await store.content.find(digestOf('other bytes')), undefined)
    assert.deepEqual(await driver.list(`/docker/registry/v2/repositories/library/app/_uploads`), [])
    await assert.rejects(upload.commit(digestOf('other bytes')), hasError('BLOB_UPLOAD_UNKNOWN'))
  })

  check('leaving the scope aborts, closing keeps, and neither does it twice', async ({ repository, driver }) => {
    const aborted = await repository.uploads.create()
    {
      await using upload = aborted
      await upload.append(chunksOf(Buffer.from('x'), 1))
    }
    await aborted.abort()
    await assert.rejects(driver.stat(uploadFolder(name, aborted.id)))
    const closed = await repository.uploads.create()
    {
      await using upload = closed
      await upload.append(chunksOf(Buffer.from('x'), 1))
      await upload.close()
    }
    await closed.abort()
    await closed.close()
    assert.equal((await driver.stat(uploadDataPath(name, closed.id))).size, 1)
  })

  check('a source that fails in the middle keeps what came before', async ({ repository }) => {
    const bytes = pattern(400_000)
    await using upload = await repository.uploads.create()
    const broken = async function* (): AsyncGenerator<Uint8Array, void> {
      yield* chunksOf(bytes.subarray(0, 300_000), 50_000)
      throw new Error('the line broke')
    }
    await assert.rejects(upload.append(broken()), /the line broke/)
    assert.equal(upload.size, 300_000)
    await upload.append(chunksOf(bytes.subarray(300_000), 50_000))
    assert.equal((await upload.commit(digestOf(bytes))).size, 400_000)
  })

  check('a disk that is full keeps only what it took, and the digest still tells', async ({ repository, driver }) => {
    const bytes = pattern(3 * mebibyte)
    await using upload = await repository.uploads.create()
    driver.arm(3, 'ENOSPC')
    await assert.rejects(upload.append(chunksOf(bytes, 100_000)), { name: 'DriverError', code: 'ENOSPC' })
    driver.arm(0)
    const { size } = upload
    assert.ok(size < bytes.byteLength)
    await upload.append(chunksOf(bytes.subarray(size), 100_000))
    assert.equal((await upload.commit(digestOf(bytes))).size, bytes.byteLength)
  })

  check('a signal ends an append whose source says nothing, and what came is kept', async ({ repository }) => {
    await using upload = await repository.uploads.create()
    const controller = new AbortController()
    const stalling = async function* (): AsyncGenerator<Uint8Array, void> {
      yield Buffer.from('first')
      controller.abort(new Error('gone'))
      await deferred().promise
    }
    await assert.rejects(upload.append(stalling(), { signal: controller.signal }), /gone/)
    assert.equal(upload.size, 5)
  })

  check('P4: size counts only bytes that can be read back while more are coming', async ({ repository }) => {
    const bytes = pattern(2 * mebibyte)
    await using upload = await repository.uploads.create()
    let read = 0
    const watched = async function* (): AsyncGenerator<Uint8Array, void> {
      for await (const chunk of chunksOf(bytes, 30_000)) {
        yield chunk
        const { size } = upload
        const part = await collect(await upload.open({ start: read, end: size }), bytes.byteLength)
        assert.ok(part.equals(bytes.subarray(read, size)))
        read = size
      }
    }
    await upload.append(watched())
    assert.equal(upload.size, bytes.byteLength)
    assert.ok(read > mebibyte, 'bytes become readable as they come')
    await upload.commit(digestOf(bytes))
  })

  check('P4: a slow source does not keep its bytes from readers', async ({ repository }) => {
    await using upload = await repository.uploads.create()
    const rest = deferred()
    const slow = async function* (): AsyncGenerator<Uint8Array, void> {
      yield Buffer.from('a few bytes')
      await rest.promise
      yield Buffer.from('!')
    }
    const appended = upload.append(slow())
    while (upload.size === 0) await new Promise(setImmediate)
    assert.equal((await collect(await upload.open({ start: 0, end: 11 }), 100)).toString(), 'a few bytes')
    rest.resolve()
    await appended
    assert.equal(upload.size, 12)
  })

  check('T-57: of two requests that append to one session, one wins', async ({ repository }) => {
    const first = await repository.uploads.create()
    await first.close()
    await using one = await repository.uploads.resume(first.id)
    const two = await repository.uploads.resume(first.id)
    const outcomes = await Promise.allSettled([
      one.append(chunksOf(Buffer.from('one'), 1)),
      two.append(chunksOf(Buffer.from('two'), 1)),
    ])
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    )
    await two.close()
    assert.equal((await one.commit(digestOf('one'))).size, 3)
  })

  check('a request that comes after the commit cannot write into the blob', async ({ repository, driver }) => {
    const first = await repository.uploads.create()
    await first.append(chunksOf(Buffer.from('bytes'), 5))
    await first.close()
    await using one = await repository.uploads.resume(first.id)
    await using two = await repository.uploads.resume(first.id)
    const { digest } = await one.commit(digestOf('bytes'))
    await assert.rejects(two.append(chunksOf(Buffer.from('more'), 4)), hasError('BLOB_UPLOAD_UNKNOWN'))
    assert.equal((await driver.read(blobPath(digest), 100)).toString(), 'bytes')
  })

  check('a caller that stops waiting for its turn never gets it', async ({ repository }) => {
    const first = await repository.uploads.create()
    await first.close()
    await using one = await repository.uploads.resume(first.id)
    await using two = await repository.uploads.resume(first.id)
    const [begun, rest] = [deferred(), deferred()]
    const slow = async function* (): AsyncGenerator<Uint8Array, void> {
      begun.resolve()
      await rest.promise
      yield Buffer.from('one')
    }
    const appended = one.append(slow())
    await begun.promise
    const controller = new AbortController()
    const waiting = two.append(chunksOf(Buffer.from('two'), 3), { signal: controller.signal })
    controller.abort(new Error('not waiting'))
    await assert.rejects(waiting, /not waiting/)
    rest.resolve()
    await appended
    assert.equal((await one.commit(digestOf('one'))).size, 3)
  })

  check('P5: a client that leaves before its commit has begun can go on where it was', async ({ repository }) => {
    const first = await repository.uploads.create()
    await first.append(chunksOf(Buffer.from('bytes'), 5))
    const reason = new Error('the client has left')
    await assert.rejects(first.commit(digestOf('bytes'), { signal: AbortSignal.abort(reason) }), reason)
    await first.close()
    await using second = await repository.uploads.resume(first.id)
    assert.equal(second.size, 5)
    assert.equal((await second.commit(digestOf('bytes'))).size, 5)
  })

  check('T-57: a commit that another request got ahead of leaves that one its bytes', async ({ repository }) => {
    const first = await repository.uploads.create()
    await first.close()
    const late = await repository.uploads.resume(first.id)
    await using one = await repository.uploads.resume(first.id)
    await one.append(chunksOf(Buffer.from('one'), 3))
    await assert.rejects(late.commit(digestOf('')), hasError('BLOB_UPLOAD_INVALID'))
    await late.close()
    assert.equal((await one.commit(digestOf('one'))).size, 3)
  })
})

storageSuite('two servers on one storage', (check) => {
  check('P1: what another one wrote over an upload is what is verified', async ({ repository, restart, store }) => {
    const good = Buffer.alloc(1000, 'g')
    const upload = await repository.uploads.create()
    await using other = await restart().repository(name).uploads.resume(upload.id)
    const begun = deferred()
    const gate = deferred()
    async function* evil(): AsyncGenerator<Uint8Array, void> {
      begun.resolve()
      await gate.promise
      yield Buffer.alloc(1000, 'e')
    }
    const late = other.append(evil())
    await begun.promise
    await upload.append(chunksOf(good, 100))
    gate.resolve()
    await late
    await assert.rejects(upload.commit(digestOf(good)), hasError('DIGEST_INVALID'))
    assert.equal(await store.content.find(digestOf(good)), undefined)
  })

  check('P2: a session that is being committed does not begin anew', async ({ repository, driver, restart }) => {
    const bytes = pattern(200_000)
    const upload = await repository.uploads.create()
    await upload.append(chunksOf(bytes, 65_536))
    const digest = await upload.commit(digestOf(bytes)).then((descriptor) => descriptor.digest)
    await driver.write(uploadStartedAtPath(name, upload.id), Buffer.from('2026-01-02T03:04:05Z')) // not gone yet
    const again = restart().repository(name).uploads
    await assert.rejects(again.resume(upload.id), hasError('BLOB_UPLOAD_UNKNOWN'))
    assert.ok((await collect((await repository.blobs.open(digest)).body, bytes.byteLength)).equals(bytes))
  })
})

storageSuite('fills', (check) => {
  check('P5: what a fill has kept is where the next one of the blob begins', async ({ store, restart, driver }) => {
    const bytes = pattern(mebibyte)
    const digest = digestOf(bytes)
    const first = await store.content.receive({ digest })
    await first.append(chunksOf(bytes.subarray(0, 700_000), 65_536))
    await first.close()
    await using other = await store.content.receive({ digest: absent })
    assert.equal(other.size, 0)
    await using second = await restart().content.receive({ digest })
    assert.equal(second.size, 700_000)
    await using third = await store.content.receive({ digest })
    assert.equal(third.size, 0, 'they are taken')
    await second.append(chunksOf(bytes.subarray(700_000), 65_536))
    assert.equal((await second.commit(digest)).size, mebibyte)
    assert.equal((await driver.list('/entrepot/fills')).length, 2)
  })

  check('P5: what a dead process left is taken up, what a living one writes is not', async ({ store, driver }) => {
    const digest = digestOf('whole')
    const [machine] = owner.split('-')
    await driver.write(fillPath(digest, `${machine}-1-alive`, parseId(1)), Buffer.from('w'))
    await driver.write(fillPath(digest, `elsewhere-999999999-dead`, parseId(2)), Buffer.from('wh'))
    const living = await store.content.receive({ digest })
    assert.equal(living.size, 0)
    await living.abort()
    await driver.write(fillPath(digest, `${machine}-${process.pid}-before`, parseId(3)), Buffer.from('who'))
    await using upload = await store.content.receive({ digest })
    assert.equal(upload.size, 3)
  })
  check('what is received is stored without a link', async ({ store, repository, driver }) => {
    const bytes = pattern(mebibyte)
    await using upload = await store.content.receive({ digest: digestOf(bytes) })
    assert.equal((await driver.list('/entrepot/fills')).length, 1)
    await upload.append(chunksOf(bytes, 64 * 1024))
    const { digest } = await upload.commit(digestOf(bytes))
    assert.deepEqual(await driver.list('/entrepot/fills'), [])
    assert.ok((await collect((await store.content.open(digest)).body, mebibyte)).equals(bytes))
    await assert.rejects(repository.blobs.stat(digest), hasError('BLOB_UNKNOWN'))
    await repository.blobs.link(digest)
    assert.equal((await repository.blobs.stat(digest)).size, mebibyte)
  })

  check('what is received under its sha512 can be linked under it', async ({ store, repository }) => {
    const bytes = Buffer.from('two names')
    const digest = digestOf(bytes, 'sha512')
    await using upload = await store.content.receive({ digest })
    await upload.append(chunksOf(bytes, 4))
    assert.equal((await upload.commit(digest)).digest, digest)
    assert.equal((await store.content.stat(digest)).digest, digest)
    await repository.blobs.link(digest)
    assert.ok((await collect((await repository.blobs.open(digest)).body, 100)).equals(bytes))
  })

  check('P1: what does not match is never stored', async ({ store, driver }) => {
    await using upload = await store.content.receive({ digest: absent })
    await upload.append(chunksOf(Buffer.from('lies'), 4))
    await assert.rejects(upload.commit(absent), hasError('DIGEST_INVALID'))
    assert.deepEqual(await driver.list('/entrepot/fills'), [])
    assert.equal(await store.content.find(absent), undefined)
  })

  check('two fills of one blob at once both succeed', async ({ store, driver }) => {
    const bytes = pattern(300_000)
    await Promise.all(
      [1, 2].map(async () => {
        await using upload = await store.content.receive({ digest: digestOf(bytes) })
        await upload.append(chunksOf(bytes, 64 * 1024))
        await upload.commit(digestOf(bytes))
      }),
    )
    assert.deepEqual(await driver.list('/entrepot/fills'), [])
    assert.ok((await collect((await store.content.open(digestOf(bytes))).body, 300_000)).equals(bytes))
  })

  check('a reader goes on reading a blob that is committed over', async ({ store, repository }) => {
    const bytes = pattern(2 * mebibyte)
    const digest = await push(repository, bytes)
    const { body } = await repository.blobs.open(digest)
    await using upload = await store.content.receive({ digest })
    await upload.append(chunksOf(bytes, mebibyte))
    await upload.commit(digest)
    assert.ok((await collect(body, bytes.byteLength)).equals(bytes))
  })
})

function parseId(number: number): UploadId {
  const id = `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`
  assert.ok(isUploadId(id))
  return id
}
