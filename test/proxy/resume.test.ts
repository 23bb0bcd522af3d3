// P5: a broken transfer goes on. Through the whole server, against a real origin behind a fault dial.
import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import type { Request } from '../../src/http/exchange.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { sweepTemporary } from '../../src/storage/sweep.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { open, pull } from '../support/client.ts'
import { randomBlob, startOrigin, type Fault, type Origin } from '../support/origin.ts'
import { until } from '../support/proxy-under-test.ts'

const mebibyte = 1024 * 1024

async function mirror(origin: Origin, proxy: Record<string, unknown> = {}, folder?: string): Promise<AppUnderTest> {
  return await startAppUnderTest({
    ...(folder === undefined ? {} : { storage: { filesystem: { rootdirectory: folder } } }),
    proxy: {
      upstreams: { up: { url: origin.url, default: true } },
      timeouts: { connect: '2s', firstbyte: '2s', idle: '1s' },
      ...proxy,
    },
  })
}

/** Breaks the connection off after so many bytes of a body. */
function cutAfter(bytes: number): Fault {
  return {
    async *body(body) {
      let left = bytes
      for await (const chunk of body) {
        if (chunk.byteLength > left) {
          if (left > 0) yield chunk.subarray(0, left)
          throw new Error('cut')
        }
        left -= chunk.byteLength
        yield chunk
      }
    },
  }
}

/** Faults for the first requests, one each; the next ones are answered as they should be. */
function inTurn(...faults: readonly ((request: Request) => Fault | undefined)[]): Origin['dial'] {
  let nth = 0
  return (request) => faults[nth++]?.(request)
}

/** The ranges that were asked for, whatever the outcome. */
function watchRanges(origin: Origin): (string | undefined)[] {
  const ranges: (string | undefined)[] = []
  const { dial } = origin
  origin.dial = (request) => {
    ranges.push(request.headers.range)
    return dial(request)
  }
  return ranges
}

/** Leaves bytes of a blob, as a fill does that comes to no end; tells where. */
async function keep(root: string, digest: string, bytes: Uint8Array, whose = 'kept'): Promise<string> {
  const fills = join(root, 'entrepot/fills')
  await mkdir(fills, { recursive: true })
  const path = join(fills, `${digest.replace(':', '-')}.${whose}.${randomUUID()}`)
  await writeFile(path, bytes)
  return path
}

/** A process of another container or machine, of which nobody knows whether it lives. */
const elsewhere = '0123456789ab-1-k3x'

/** As if nobody had written to it for a minute. */
async function quieten(path: string): Promise<void> {
  const then = new Date(Date.now() - 60_000)
  await utimes(path, then, then)
}

test('T-10: a transfer that breaks goes on from the byte that it broke at, and its readers see nothing of it', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  for (const at of [1, 65_536, 2 * mebibyte, bytes.length - 1]) {
    origin.dial = inTurn(() => cutAfter(at))
    const ranges = watchRanges(origin)
    await using app = await mirror(origin)
    const answers = await Promise.all([
      pull(`${app.url}/v2/app/blobs/${digest}`),
      pull(`${app.url}/v2/app/blobs/${digest}`),
    ])
    for (const answer of answers) assert.deepEqual([answer.status, answer.digest], [200, digest], `cut at ${at}`)
    assert.equal(ranges.length, 2)
    const start = Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? '')?.[1])
    assert.ok(start > 0 && start <= at, `cut at ${at}, asked for ${ranges[1]}`)
    const told = app.lines.find(({ msg }) => msg === 'transfer broke, it goes on')
    assert.deepEqual([told?.['repository'], told?.['digest'], told?.['at']], ['up/app', digest, start])
  }
})

test('a transfer without a length that breaks behind its last byte is complete where the digest says so', async () => {
  await using origin = await startOrigin()
  for (const size of [1000, 2 * mebibyte]) {
    const { bytes, digest } = randomBlob(size)
    await origin.addBlob('app', bytes)
    const cutAtEnd = (): Fault => ({
      headers: { 'content-length': undefined },
      async *body(body) {
        yield* body
        throw new Error('cut')
      },
    })
    origin.dial = cutAtEnd
    const ranges = watchRanges(origin)
    await using app = await mirror(origin)
    for (const from of ['fill', 'local']) {
      const answer = await pull(`${app.url}/v2/app/blobs/${digest}`)
      assert.deepEqual([answer.status, answer.digest, answer.complete], [200, digest, true])
      assert.equal(app.lines.findLast(({ msg }) => msg === 'request')?.['from'], from)
    }
    assert.deepEqual(ranges, [undefined])
  }
})

test('T-12: a transfer that stalls goes on too', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('app', bytes)
  const never = new Promise<never>(() => {})
  const stall: Fault = {
    async *body(body) {
      for await (const chunk of body) {
        yield chunk.subarray(0, 1000)
        await never
      }
    },
  }
  origin.dial = inTurn(() => stall)
  await using app = await mirror(origin)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
})

test('T-12: a transfer that stalls again and again releases its readers together', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(mebibyte)
  await origin.addBlob('app', bytes)
  const never = new Promise<never>(() => {})
  origin.dial = () => ({
    async *body(body) {
      for await (const chunk of body) {
        await never
        yield chunk
      }
    },
  })
  await using app = await mirror(origin)
  const url = `${app.url}/v2/app/blobs/${digest}`
  const answers = await Promise.all(Array.from({ length: 20 }, async () => await pull(url)))
  assert.ok(answers.every(({ complete }) => !complete))
  assert.ok(origin.seen.length <= 3, `${origin.seen.length} requests: patience is two idle times`)
})

test('T-28: what comes instead of the wanted part is never spliced', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(2 * mebibyte)
  await origin.addBlob('app', bytes)
  const rest = (size: number): Record<string, string> => ({
    'content-range': `bytes ${size}-${bytes.length - 1}/${bytes.length}`,
  })
  const wrong: readonly (readonly [string, (request: Request) => Fault | undefined])[] = [
    [
      'the whole instead of a part',
      () => ({ reply: { status: 200, headers: { 'content-length': String(bytes.length) }, body: bytes } }),
    ],
    ['another start', () => ({ headers: rest(17) })],
    ['another whole size', () => ({ headers: { 'content-range': `bytes 5-9/77` } })],
    [
      'an unknown whole size',
      ({ headers }) => ({ headers: { 'content-range': `bytes ${headers.range?.slice(6)}${bytes.length - 1}/*` } }),
    ],
    ['an encoded part', () => ({ headers: { 'content-encoding': 'gzip' } })],
    ['another version', () => ({ headers: { etag: '"another"' } })],
  ]
  for (const [what, fault] of wrong) {
    origin.dial = inTurn(() => ({ ...cutAfter(mebibyte), headers: { etag: '"first"' } }), fault)
    await using app = await mirror(origin)
    const answer = await pull(`${app.url}/v2/app/blobs/${digest}`)
    assert.deepEqual([answer.status, answer.digest], [200, digest], what)
  }
})

test('P5: transfers that an upstream breaks off, as it starts anew, go on when it is back', async () => {
  await using origin = await startOrigin()
  const blobs = Array.from({ length: 4 }, () => randomBlob(mebibyte))
  for (const { bytes } of blobs) await origin.addBlob('app', bytes)
  const down = deferred()
  const cutWhenDown: Fault = {
    async *body(body) {
      for await (const chunk of body) {
        yield chunk.subarray(0, 100_000)
        await down.promise
        throw new Error('cut')
      }
    },
  }
  origin.dial = () => cutWhenDown
  await using app = await mirror(origin, { timeouts: {} })
  const pulls = await Promise.all(blobs.map(async ({ digest }) => await open(`${app.url}/v2/app/blobs/${digest}`)))
  let left = 3 // failures in a row, from which on an upstream is left alone
  origin.dial = () => (left-- > 0 ? { reply: { status: 503, headers: {} } } : undefined)
  down.resolve()
  for (const [nth, body] of pulls.entries()) assert.equal(digestOf(await buffer(body)), blobs[nth]?.digest)
  assert.ok(app.lines.some(({ msg }) => msg === 'upstream does not answer: it is asked only now and then'))
})

test('P5: connections of one blob that an upstream breaks off together go on, too', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  const allRun = deferred()
  const down = deferred()
  let running = 0
  const cutWhenDown: Fault = {
    async *body(body) {
      for await (const chunk of body) {
        yield chunk.subarray(0, 100_000)
        if (++running === 4) allRun.resolve()
        await down.promise
        throw new Error('cut')
      }
    },
  }
  origin.dial = ({ method }) => (method === 'GET' ? cutWhenDown : undefined)
  await using app = await mirror(origin, { timeouts: {}, fill: { connections: 4, minsize: '1MiB' } })
  const body = await open(`${app.url}/v2/app/blobs/${digest}`)
  await allRun.promise
  let left = 3
  origin.dial = () => (left-- > 0 ? { reply: { status: 503, headers: {} } } : undefined)
  down.resolve()
  assert.equal(digestOf(await buffer(body)), digest)
})

test('T-23: an upstream that is busy for a moment is asked again', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(100_000)
  await origin.addBlob('app', bytes)
  const busy: Fault = { reply: { status: 503, headers: {}, body: Buffer.from('busy') } }
  origin.dial = inTurn(() => busy)
  await using app = await mirror(origin)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.equal(origin.seen.length, 2)
})

test('P5: what a failed fill has brought is kept, proven, and not fetched again', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(6 * mebibyte)
  await origin.addBlob('app', bytes)
  {
    await using app = await mirror(origin, { fill: { retries: 0 } }, folder.path)
    origin.dial = () => cutAfter(4 * mebibyte)
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).complete, false)
  }
  origin.dial = () => undefined
  const ranges = watchRanges(origin)
  await using restarted = await mirror(origin, {}, folder.path)
  const before = origin.bytesSent(`/v2/app/blobs/${digest}`)
  assert.equal((await pull(`${restarted.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.match(ranges[0] ?? '', /^bytes=[1-9]\d+-$/)
  assert.ok(origin.bytesSent(`/v2/app/blobs/${digest}`) - before < 3 * mebibyte)
})

test('P5: who asks again as soon as a fill has failed goes on where it was', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  await using app = await mirror(origin, { fill: { retries: 0 } }, folder.path)
  for (let times = 0; times < 5; times += 1) {
    const { bytes, digest } = randomBlob(3 * mebibyte)
    await origin.addBlob('app', bytes)
    origin.dial = () => cutAfter(2 * mebibyte)
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).complete, false)
    origin.dial = () => undefined
    const ranges = watchRanges(origin)
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
    assert.match(String(ranges), /^bytes=[1-9]\d+-$/)
  }
})

for (const [trouble, fault, status] of [
  ['is busy', { reply: { status: 503, headers: {} } }, 502],
  ['limits us', { reply: { status: 429, headers: { 'retry-after': '1' } } }, 429],
  ['says that it has no such blob', { reply: { status: 404, headers: {} } }, 404],
  ['does not answer', { wait: new Promise<void>(() => {}) }, 504],
] as const) {
  test(`P5: what was kept outlives a pull for which the upstream ${trouble}`, async () => {
    await using origin = await startOrigin()
    await using folder = await temporaryFolder()
    const { bytes, digest } = randomBlob(3 * mebibyte)
    await origin.addBlob('app', bytes)
    await keep(folder.path, digest, bytes.subarray(0, 2 * mebibyte))
    await using app = await mirror(origin, { negative: '0s' }, folder.path)
    origin.dial = () => fault
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).status, status)
    origin.dial = () => undefined
    const ranges = watchRanges(origin)
    await until(async () => (await pull(`${app.url}/v2/app/blobs/${digest}`)).digest === digest) // it may limit us still
    assert.deepEqual(ranges, [`bytes=${2 * mebibyte}-`])
  })
}

test('P5: kept bytes that are wrong are found out, and cost one pull', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  {
    await using app = await mirror(origin, { fill: { retries: 0 } }, folder.path)
    origin.dial = () => ({
      async *body(body) {
        let sent = 0
        for await (const chunk of body) {
          if (sent > 3 * mebibyte) throw new Error('cut')
          sent += chunk.byteLength
          yield Buffer.from(chunk).fill(1)
        }
      },
    })
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).complete, false)
  }
  origin.dial = () => undefined
  await using restarted = await mirror(origin, {}, folder.path)
  assert.equal((await pull(`${restarted.url}/v2/app/blobs/${digest}`)).complete, false)
  assert.equal((await pull(`${restarted.url}/v2/app/blobs/${digest}`)).digest, digest)
})

test('P5: bytes that came whole and wrong are kept for nobody', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(2 * mebibyte)
  await origin.addBlob('app', bytes)
  origin.dial = () => ({
    async *body(body) {
      for await (const chunk of body) yield Buffer.from(chunk).fill(1)
    },
  })
  {
    await using app = await mirror(origin, { fill: { retries: 0 } }, folder.path)
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).complete, false)
  }
  assert.deepEqual(await readdir(join(folder.path, 'entrepot/fills')), [])
})

test('P5: bytes that were whole but for their proof are not asked for again', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(3 * mebibyte)
  await origin.addBlob('app', bytes)
  await keep(folder.path, digest, bytes)
  await using app = await mirror(origin, {}, folder.path)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.equal(origin.bytesSent(`/v2/app/blobs/${digest}`) < 1000, true)
  await origin.stop()
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
})

test('P5: more bytes than there are were kept: they are dropped, and the blob is fetched', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(2 * mebibyte)
  await origin.addBlob('app', bytes)
  await keep(folder.path, digest, Buffer.concat([bytes, Buffer.from('more')]))
  await using app = await mirror(origin, {}, folder.path)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
})

test('P5: what was fetched by a process of a container that may be gone is copied, and only the rest is fetched', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  const theirs = await keep(folder.path, digest, bytes.subarray(0, 3 * mebibyte), elsewhere)
  await quieten(theirs)
  await using app = await mirror(origin, {}, folder.path)
  const ranges = watchRanges(origin)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.deepEqual(ranges, [`bytes=${3 * mebibyte}-`])
  assert.equal((await stat(theirs)).size, 3 * mebibyte, 'theirs, should they live')
})

test('P5: what somebody else is fetching now is not waited for', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  await keep(folder.path, digest, bytes.subarray(0, 3 * mebibyte), elsewhere)
  await using app = await mirror(origin, {}, folder.path)
  const ranges = watchRanges(origin)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.deepEqual(ranges, [undefined])
})

for (const whose of ['kept', elsewhere]) {
  test(`P5: wrong bytes that were left cost one pull, however many files of them there are (${whose})`, async () => {
    await using origin = await startOrigin()
    await using folder = await temporaryFolder()
    const { bytes, digest } = randomBlob(4 * mebibyte)
    await origin.addBlob('app', bytes)
    for (const more of [0, 1]) {
      await quieten(await keep(folder.path, digest, Buffer.alloc(3 * mebibyte + more, 1), whose))
    }
    await using app = await mirror(origin, {}, folder.path)
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).complete, false)
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  })
}

test('P5: a copy is made only where it brings more than what is free, and where few files lie beside it', async () => {
  const free = 2 * mebibyte
  for (const [theirs, others, wanted] of [
    [free + mebibyte - 1, 0, free],
    [free + mebibyte, 1, free + mebibyte],
    [free + mebibyte, 2, free],
  ] as const) {
    await using origin = await startOrigin()
    await using folder = await temporaryFolder()
    const { bytes, digest } = randomBlob(4 * mebibyte)
    await origin.addBlob('app', bytes)
    await keep(folder.path, digest, bytes.subarray(0, free))
    for (const size of [theirs, ...Array<number>(others).fill(1)]) {
      await quieten(await keep(folder.path, digest, bytes.subarray(0, size), elsewhere))
    }
    await using app = await mirror(origin, {}, folder.path)
    const ranges = watchRanges(origin)
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
    assert.deepEqual(ranges, [`bytes=${wanted}-`])
  }
})

test('P5: no sweep of another server takes an old file that a fill has just taken up', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  await quieten(await keep(folder.path, digest, bytes.subarray(0, 3 * mebibyte)))
  await using app = await mirror(origin, {}, folder.path)
  const asked = deferred()
  const gate = deferred()
  origin.dial = () => ({
    async *body(body) {
      asked.resolve()
      await gate.promise
      yield* body
    },
  })
  const pulling = pull(`${app.url}/v2/app/blobs/${digest}`)
  await asked.promise
  const driver = filesystemDriver({ rootDirectory: folder.path })
  const swept = await sweepTemporary(driver, { age: 30_000, open: new Set(), logger: silentLogger })
  assert.equal(swept.files, 0)
  gate.resolve()
  assert.equal((await pulling).digest, digest)
})

test('P1: of two files that were kept, a wrong one is not followed by the other', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(6 * mebibyte)
  await origin.addBlob('app', bytes)
  await keep(folder.path, digest, Buffer.alloc(bytes.length, 1))
  await keep(folder.path, digest, Buffer.alloc(2 * mebibyte, 2))
  await using app = await mirror(origin, {}, folder.path)
  const url = `${app.url}/v2/app/blobs/${digest}`
  const slow = await open(url)
  assert.equal((await pull(url)).digest, digest)
  const hash = createHash('sha256')
  for await (const chunk of slow) hash.update(chunk as Buffer)
  assert.equal(`sha256:${hash.digest('hex')}`, digest)
})

test('P5: more than there is was kept, and the upstream knows no ranges: the blob is fetched anew', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(2 * mebibyte)
  await origin.addBlob('app', bytes)
  origin.dial = () => ({ reply: { status: 200, headers: { 'content-length': String(bytes.length) }, body: bytes } })
  await keep(folder.path, digest, Buffer.alloc(3 * mebibyte))
  await using app = await mirror(origin, {}, folder.path)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
})

test('T-28, P5: bytes were kept, and the upstream sends parts that cannot be trusted: the blob is fetched anew', async () => {
  await using origin = await startOrigin()
  await using folder = await temporaryFolder()
  const { bytes, digest } = randomBlob(3 * mebibyte)
  await origin.addBlob('app', bytes)
  origin.dial = ({ headers }) =>
    headers.range === undefined ? undefined : { headers: { 'content-length': undefined } }
  await keep(folder.path, digest, bytes.subarray(0, 2 * mebibyte))
  await using app = await mirror(origin, {}, folder.path)
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
})

test('several connections to places with versions of their own end in one connection, not in a whole for each part', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(32 * mebibyte)
  await origin.addBlob('app', bytes)
  let nth = 0
  origin.dial = () => ({ headers: { etag: `"${nth++}"` } })
  await using app = await mirror(origin, { fill: { connections: 4, minsize: '1MiB' } })
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.ok(origin.bytesSent(`/v2/app/blobs/${digest}`) <= 2.5 * bytes.length)
})

test('a large blob comes by several connections, in order, each byte once', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(8 * mebibyte + 17)
  await origin.addBlob('app', bytes)
  const ranges = watchRanges(origin)
  await using app = await mirror(origin, { fill: { connections: 4, minsize: '1MiB' } })
  const url = `${app.url}/v2/app/blobs/${digest}`
  const answers = await Promise.all([pull(url), pull(url), pull(url, { range: 'bytes=8388608-' })])
  assert.deepEqual([answers[0]?.digest, answers[1]?.digest, answers[2]?.size], [digest, digest, 17])
  assert.deepEqual(
    origin.seen.map((line) => line.split(' ')[0]),
    ['HEAD', 'GET', 'GET', 'GET', 'GET'],
  )
  assert.equal(new Set(ranges.slice(1)).size, 4)
  assert.equal(origin.bytesSent(`/v2/app/blobs/${digest}`), bytes.length)
})

test('T-10: each of several connections goes on where it broke', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  origin.dial = inTurn(
    () => undefined, // HEAD
    () => cutAfter(100_000),
    () => cutAfter(200_000),
    () => cutAfter(300_000),
  )
  await using app = await mirror(origin, { fill: { connections: 4, minsize: '1MiB' } })
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.equal(origin.seen.length, 1 + 4 + 3)
})

for (const said of [20 * mebibyte, 40 * mebibyte]) {
  test(`T-30: a HEAD that says ${said} spoils no pull by several connections`, async () => {
    await using origin = await startOrigin()
    const { bytes, digest } = randomBlob(32 * mebibyte)
    await origin.addBlob('app', bytes)
    origin.dial = ({ method }) => (method === 'HEAD' ? { headers: { 'content-length': String(said) } } : undefined)
    await using app = await mirror(origin, { fill: { connections: 4, minsize: '8MiB' } })
    assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
    assert.equal(origin.bytesSent(`/v2/app/blobs/${digest}`), bytes.byteLength)
  })
}

test('an origin without ranges serves a large blob by one connection', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(4 * mebibyte)
  await origin.addBlob('app', bytes)
  const whole: Fault = { reply: { status: 200, headers: { 'content-length': String(bytes.length) }, body: bytes } }
  origin.dial = ({ method }) => (method === 'GET' ? whole : undefined)
  await using app = await mirror(origin, { fill: { connections: 4, minsize: '1MiB' } })
  assert.equal((await pull(`${app.url}/v2/app/blobs/${digest}`)).digest, digest)
  assert.equal(origin.seen.length, 2)
})

test('small blobs take one connection, whatever is configured', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(100_000)
  await origin.addBlob('app', bytes)
  await using app = await mirror(origin, { fill: { connections: 4, minsize: '1MiB' } })
  const reader = await open(`${app.url}/v2/app/blobs/${digest}`)
  reader.resume()
  await once(reader, 'end')
  assert.deepEqual(
    origin.seen.map((line) => line.split(' ')[0]),
    ['HEAD', 'GET'],
  )
})

test('T-21: a signed URL that has expired is asked for again at the registry', async () => {
  await using origin = await startOrigin()
  const { bytes, digest } = randomBlob(2 * mebibyte)
  await origin.addBlob('app', bytes)
  let signed = 0
  origin.dial = ({ path, headers }) => {
    if (!path.startsWith('/cdn/')) {
      signed += 1
      return { reply: { status: 307, headers: { location: `${origin.url}/cdn/${signed}` } } }
    }
    if (path !== `/cdn/${signed}`) return { reply: { status: 403, headers: {}, body: Buffer.from('expired') } }
    const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
    const body = bytes.subarray(start)
    const range = { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }
    const reply = {
      status: start > 0 ? 206 : 200,
      headers: { 'content-length': String(body.byteLength), ...(start > 0 ? range : {}) },
      body,
    }
    return signed === 1 ? { reply, ...cutAfter(mebibyte) } : { reply }
  }
  await using app = await mirror(origin)
  const answer = await pull(`${app.url}/v2/app/blobs/${digest}`)
  assert.deepEqual([answer.status, answer.digest, signed], [200, digest, 2])
})

for (const [kind, wanted] of [
  ['manifests', (index: number) => `manifests/v${index}`],
  ['blobs', (index: number) => `blobs/${digestOf(Buffer.from(String(index)))}`],
] as const) {
  test(`T-05: an upstream that hangs with its ${kind} does not slow another one`, async () => {
    await using hanging = await startOrigin()
    await using healthy = await startOrigin()
    const { bytes, digest } = randomBlob(100_000)
    await healthy.addBlob('app', bytes)
    const never = new Promise<void>(() => {})
    hanging.dial = () => ({ wait: never })
    await using app = await startAppUnderTest({
      proxy: {
        upstreams: { hanging: { url: hanging.url }, healthy: { url: healthy.url } },
        timeouts: { connect: '10m', firstbyte: '10m', idle: '10m' },
      },
    })
    const stop = new AbortController()
    const stuck = Array.from({ length: 200 }, async (_, index) => {
      await fetch(`${app.url}/v2/hanging/app/${wanted(index)}`, { signal: stop.signal }).catch(() => {})
    })
    while (hanging.seen.length < 64) await new Promise(setImmediate)
    assert.equal((await pull(`${app.url}/v2/healthy/app/blobs/${digest}`)).digest, digest)
    stop.abort()
    await Promise.all(stuck)
  })
}
