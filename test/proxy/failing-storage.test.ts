// T-31, T-33, T-38: storage that fails costs the copy, never the answer.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { DriverError } from '../../src/drivers/driver.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { ask, open, pull, pullSlowAndFast } from '../support/client.ts'
import { watchedDriver, type DriverCall } from '../support/faulty-driver.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import { startProxyUnderTest } from '../support/proxy-under-test.ts'

const mebibyte = 1024 * 1024

/** A driver whose calls fail where `isFailing` says so. */
function failing(
  isFailing: (call: DriverCall) => boolean,
  code = 'ENOSPC',
  driver = inMemoryDriver(),
): ReturnType<typeof watchedDriver> {
  return watchedDriver(driver, (call) => {
    if (isFailing(call)) throw new DriverError(code, `${call.method} of ${call.path} was made to fail`)
  })
}

const isFill = ({ path }: DriverCall): boolean => path.startsWith('/entrepot/fills/')
const writes: ReadonlySet<string> = new Set(['write', 'writer', 'append', 'sync', 'move'])

/** Lets every write fail from the nth on. */
function failingFrom(nth: number): { readonly isFailing: (call: DriverCall) => boolean; readonly seen: () => number } {
  let seen = 0
  return { isFailing: ({ method }) => writes.has(method) && ++seen >= nth, seen: () => seen }
}

test('T-31: a disk that is full from any write on: every client gets the right bytes, and nothing stays', async () => {
  await using origin = await startOrigin()
  const layers = [randomBlob(3 * mebibyte).bytes, randomBlob(1000).bytes]
  const image = await origin.addImage('app', 'v1', layers)
  let isOver = false
  for (let nth = 1; !isOver; nth++) {
    const { isFailing, seen } = failingFrom(nth)
    const driver = failing(isFailing)
    await using mirror = await startProxyUnderTest(origin, { driver })
    const manifest = await pull(`${mirror.url}/v2/app/manifests/v1`)
    assert.deepEqual([manifest.status, manifest.digest], [200, image.manifest], `full from write ${nth} on`)
    for (const digest of [image.config, ...image.layers]) {
      const url = `${mirror.url}/v2/app/blobs/${digest}`
      const answers = await Promise.all([pull(url), pull(url), pull(url)])
      for (const answer of answers) assert.deepEqual([answer.status, answer.digest], [200, digest], `write ${nth}`)
    }
    assert.deepEqual(await driver.list('/entrepot/fills').catch(() => []), [], 'nothing is left of a fill')
    isOver = seen() < nth
  }
})

test('T-31, P5: whatever fails while a leftover is copied, the blob comes', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(2 * mebibyte)
  await origin.addBlob('app', bytes)
  const files = filesystemDriver({ rootDirectory: folder.path })
  const theirs = `/entrepot/fills/${digest.replace(':', '-')}.0123456789ab-1-k3x.${randomUUID()}`
  const then = new Date(Date.now() - 60_000)
  let isOver = false
  for (let nth = 1; !isOver; nth++) {
    await files.write(theirs, bytes.subarray(0, mebibyte))
    await utimes(join(folder.path, theirs), then, then)
    let seen = 0
    let writers = 0 // the first is the copy's, the second the fill's
    const isFailing = (call: DriverCall): boolean => {
      if (call.method === 'writer') writers++
      return writers === 1 && isFill(call) && ++seen === nth
    }
    const driver = failing(isFailing, 'EIO', files)
    await using mirror = await startProxyUnderTest(origin, { driver })
    assert.equal((await pull(`${mirror.url}/v2/app/blobs/${digest}`)).digest, digest, `call ${nth}`)
    await mirror.until(({ msg }) => msg === 'fill stored')
    assert.deepEqual(
      (await files.list('/entrepot/fills')).map((name) => `/entrepot/fills/${name}`),
      [theirs],
    )
    await files.remove('/docker')
    isOver = seen < nth
  }
})

test('T-31, P5: a leftover that cannot be copied leaves the smaller one that is free', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  const files = filesystemDriver({ rootDirectory: folder.path })
  const name = (whose: string): string => `/entrepot/fills/${digest.replace(':', '-')}.${whose}.${randomUUID()}`
  const theirs = name('0123456789ab-1-k3x')
  await files.write(theirs, bytes.subarray(0, 3 * mebibyte))
  await utimes(join(folder.path, theirs), 0, 0)
  await files.write(name('kept'), bytes.subarray(0, 2 * mebibyte))
  const driver = failing(({ method, path }) => method === 'open' && path === theirs, 'EACCES', files)
  await using mirror = await startProxyUnderTest(origin, { driver })
  assert.equal((await pull(`${mirror.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.ok(origin.bytesSent(`/v2/app/blobs/${digest}`) < 2.5 * mebibyte)
})

test('P1, T-31: what is passed through because the disk is full is proven as ever: wrong bytes are no whole answer', async () => {
  await using origin = await startOrigin()
  for (const size of [1000, 12 * mebibyte]) {
    const { bytes, digest } = randomBlob(size)
    await origin.addBlob('app', bytes)
    const wrong = (chunk: Uint8Array): Uint8Array => Buffer.from(chunk).fill(7)
    origin.dial = ({ method }) => (method === 'GET' ? { body: (body) => changed(body, wrong) } : undefined)
    await using mirror = await startProxyUnderTest(origin, { driver: failing(isFill) })
    const url = `${mirror.url}/v2/app/blobs/${digest}`
    const answers = await Promise.all([pull(url), pull(url), pull(url, { range: `bytes=0-${size - 2}` })])
    for (const { status, complete } of answers) assert.ok(status >= 500 || !complete, `${size}: ${status}`)
    origin.dial = () => undefined
    assert.equal((await pull(url)).digest, digest)
  }
})

test('T-31: the log says once that storage fails, and once that it works again', async () => {
  await using origin = await startOrigin()
  const blobs = Array.from({ length: 5 }, () => randomBlob(100_000))
  for (const { bytes } of blobs) await origin.addBlob('app', bytes)
  let isFull = true
  const driver = failing((call) => isFull && isFill(call) && call.method === 'append')
  await using mirror = await startProxyUnderTest(origin, { driver })
  for (const { digest } of blobs) assert.equal((await pull(`${mirror.url}/v2/app/blobs/${digest}`)).digest, digest)
  isFull = false
  for (const { digest } of blobs) assert.equal((await pull(`${mirror.url}/v2/app/blobs/${digest}`)).digest, digest)
  const said = mirror.lines.filter(({ msg, level }) => level !== 'debug' && String(msg).startsWith('storage '))
  assert.deepEqual(
    said.map(({ msg }) => msg),
    ['storage fails: what is fetched is passed through and not kept', 'storage works again'],
  )
})

test('T-31, P7: that storage fails now and then is said once a minute', async () => {
  await using origin = await startOrigin()
  let isFull = false
  const driver = failing((call) => isFull && isFill(call) && call.method === 'append')
  await using mirror = await startProxyUnderTest(origin, { driver })
  const pullWhile = async (full: boolean): Promise<void> => {
    isFull = full
    const { bytes, digest } = randomBlob(100_000)
    await origin.addBlob('app', bytes)
    assert.equal((await pull(`${mirror.url}/v2/app/blobs/${digest}`)).digest, digest)
    const end = full ? 'blob passed through, not stored' : 'fill stored'
    await mirror.until((line) => line['msg'] === end && line['digest'] === digest)
  }
  const said = (): unknown[] =>
    mirror.lines
      .filter(({ msg, level }) => level !== 'debug' && String(msg).startsWith('storage '))
      .map(({ level }) => level)
  for (const full of [true, true, false, true, false, true]) await pullWhile(full)
  assert.deepEqual(said(), ['error', 'info'])
  mirror.pass(60_000)
  for (const full of [true, false, true]) await pullWhile(full)
  assert.deepEqual(said(), ['error', 'info', 'error', 'info'])
})

test('T-31: a disk that fills up in the middle of a blob: a reader who is far behind gets the rest of it', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(24 * mebibyte)
  await origin.addBlob('app', bytes)
  let written = 0
  const driver = failing((call) => isFill(call) && call.method === 'append' && ++written > 40)
  await using mirror = await startProxyUnderTest(origin, { driver })
  assert.deepEqual(await pullSlowAndFast(`${mirror.url}/v2/app/blobs/${digest}`), [digest, digest])
  assert.deepEqual(await driver.list('/entrepot/fills'), [])
})

test('T-33: what could not be made durable is not shown, and its readers have it', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  const driver = failing((call) => isFill(call) && call.method === 'sync', 'EIO')
  await using mirror = await startProxyUnderTest(origin, { driver })
  assert.equal((await pull(`${mirror.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.deepEqual(await driver.list('/docker/registry/v2/blobs').catch(() => []), [])
})

test('T-38: a read-only storage serves what it holds, also to a repository that has no link to it', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('one', bytes)
  await origin.addBlob('two', bytes)
  let isReadOnly = false
  const driver = failing((call) => isReadOnly && (writes.has(call.method) || call.method === 'remove'), 'EROFS')
  await using mirror = await startProxyUnderTest(origin, { driver })
  await pull(`${mirror.url}/v2/one/blobs/${digest}`)
  isReadOnly = true
  assert.equal((await pull(`${mirror.url}/v2/one/blobs/${digest}`)).digest, digest)
  assert.equal((await pull(`${mirror.url}/v2/two/blobs/${digest}`)).digest, digest)
  assert.equal((await ask(`${mirror.url}/v2/two/blobs/${digest}`, { method: 'HEAD' })).status, 200)
  assert.equal(origin.bytesSent(`/v2/two/blobs/${digest}`), 0)
})

test('a fill that is passed through ends when its last reader has left', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(32 * mebibyte)
  await origin.addBlob('app', bytes)
  const driver = failing((call) => isFill(call) && call.method === 'append')
  await using mirror = await startProxyUnderTest(origin, { driver })
  const reader = await open(`${mirror.url}/v2/app/blobs/${digest}`)
  reader.destroy()
  await mirror.until(({ msg }) => msg === 'fill failed')
  assert.ok(origin.bytesSent(`/v2/app/blobs/${digest}`) < bytes.length)
})

test('T-31: on a full disk a range is answered, though the fill and its end wait for each other', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(12 * mebibyte)
  await origin.addBlob('app', bytes)
  const driver = failing((call) => isFill(call) && call.method === 'append')
  await using mirror = await startProxyUnderTest(origin, { driver })
  const url = `${mirror.url}/v2/app/blobs/${digest}`
  const [part, middle, whole] = await Promise.all([
    ask(url, { headers: { range: 'bytes=0-99' } }),
    ask(url, { headers: { range: 'bytes=6000000-6000099' } }),
    pull(url),
  ])
  assert.ok(part.body.equals(bytes.subarray(0, 100)))
  assert.ok(middle.body.equals(bytes.subarray(6_000_000, 6_000_100)))
  assert.equal(whole.digest, digest)
})

test('T-31: on a full disk, a large blob of unknown size is an error, not silence', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(12 * mebibyte)
  await origin.addBlob('app', bytes)
  origin.dial = () => ({ headers: { 'content-length': undefined } })
  const driver = failing((call) => isFill(call) && call.method === 'append')
  await using mirror = await startProxyUnderTest(origin, { driver })
  assert.equal((await ask(`${mirror.url}/v2/app/blobs/${digest}`)).status, 507)
})

test('T-31: a client that comes while the file of a full disk is being removed gets its bytes too', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(24 * mebibyte)
  await origin.addBlob('app', bytes)
  let written = 0
  const removing = deferred()
  const gate = deferred()
  const driver = watchedDriver(inMemoryDriver(), async (call) => {
    if (!isFill(call)) return
    if (call.method === 'append' && ++written > 20) throw new DriverError('ENOSPC', 'full')
    if (call.method !== 'remove') return
    removing.resolve()
    await gate.promise
  })
  await using mirror = await startProxyUnderTest(origin, { driver })
  const url = `${mirror.url}/v2/app/blobs/${digest}`
  const first = pull(url)
  await removing.promise
  const second = pull(url)
  gate.resolve()
  assert.deepEqual([(await first).digest, (await second).digest], [digest, digest])
})

test('T-31: on a full disk, a client that takes nothing does not hold the others up for ever', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(32 * mebibyte)
  await origin.addBlob('app', bytes)
  const driver = failing((call) => isFill(call) && call.method === 'append')
  const fill = { connections: 1, minSize: 2 ** 26, retries: 0, patience: 500 }
  await using mirror = await startProxyUnderTest(origin, { driver, proxy: { fill } })
  const url = `${mirror.url}/v2/app/blobs/${digest}`
  const stuck = await open(url)
  assert.equal((await pull(url)).digest, digest)
  await mirror.until(({ msg }) => msg === 'fill failed') // the one that waited for it
  await assert.rejects(async () => {
    for await (const chunk of stuck) assert.ok(chunk !== undefined)
  })
})

async function* changed(
  body: AsyncIterable<Uint8Array>,
  change: (chunk: Uint8Array) => Uint8Array,
): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of body) yield change(chunk)
}
