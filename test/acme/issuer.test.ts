// When a certificate is asked for, by the clock, and what becomes of it. The authority is a function here.
import assert from 'node:assert/strict'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { CacheFileError, readCacheFile, writeCacheFile } from '../../src/acme/cache-file.ts'
import { Issuer, type IssuerOptions } from '../../src/acme/issuer.ts'
import type { CertificateRequest } from '../../src/acme/order.ts'
import { UnreachableError } from '../../src/acme/transport.ts'
import type { Identity } from '../../src/http/issued-identity.ts'
import { selfSigned } from '../support/certificates.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const hosts = ['a.test', 'b.test']
const directory = 'https://authority.test/dir'

/** For ninety days from today on. */
function certificate(names: readonly string[] = hosts): Identity {
  return selfSigned({ names, validFrom: 0, validTo: 90 })
}

interface Site extends AsyncDisposable, Pick<Recording, 'lines'> {
  readonly path: string
  readonly asked: CertificateRequest[]
  /** Answers the order that runs. */
  answer(result: Identity | Error): Promise<void>
  /** Lets time go by until the next order, and resolves with how much it was, to the minute. */
  untilAsked(): Promise<number>
  pass(time: number): void
  open(options?: Partial<IssuerOptions>): Promise<Issuer>
}

async function openSite(t: TestContext): Promise<Site> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await temporaryFolder())
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = Date.now()
  const { logger, lines } = recordingLogger()
  const asked: CertificateRequest[] = []
  let running: PromiseWithResolvers<Identity> | undefined
  const path = join(folder.path, 'cache.json')
  const pass = (time: number): void => {
    now += time
    t.mock.timers.tick(time)
  }
  const resources = opening.move()
  return {
    path,
    lines,
    asked,
    async answer(result) {
      assert.ok(running !== undefined, 'nothing was asked for')
      if (result instanceof Error) running.reject(result)
      else running.resolve(result)
      running = undefined
      await new Promise(setImmediate) // all that waits for it has heard of it then
    },
    async untilAsked() {
      const [before, from] = [asked.length, now]
      while (asked.length === before) {
        assert.ok(now - from < 100 * day, 'it is never asked for')
        pass(minute)
      }
      return now - from
    },
    pass,
    open: async (options) =>
      resources.use(
        await Issuer.open({
          hosts,
          email: undefined,
          directory,
          cacheFile: path,
          async order(request) {
            asked.push(request)
            running = Promise.withResolvers()
            return await running.promise
          },
          logger,
          clock: () => now,
          random: () => 0,
          ...options,
        }),
      ),
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

/** What is kept of an earlier run. */
async function keep(site: Site, identity: Identity, from: string = directory): Promise<void> {
  await (await site.open())[Symbol.asyncDispose]()
  const kept = await readCacheFile(site.path)
  assert.ok(kept !== undefined)
  await writeCacheFile(site.path, { ...kept, directory: from, identity })
}

const isAbout = (share: number, days: number): boolean => Math.abs(share - days * day) < hour

test('nothing is asked for before we can be reached, and then at once', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open({ email: 'ops@a.test' })
  assert.equal(site.asked.length, 0)
  const changes: unknown[] = []
  issuer.begin(() => changes.push(issuer.current))
  assert.match(JSON.stringify(site.lines), /no certificate yet: TLS handshakes fail until/)
  const [request] = site.asked
  const { account } = (await readCacheFile(site.path)) ?? {}
  assert.deepEqual(
    [request?.directory, request?.account, request?.email, request?.hosts],
    [directory, account, 'ops@a.test', hosts],
  )
  const issued = certificate()
  await site.answer(issued)
  assert.deepEqual(changes, [issued])
  await issuer[Symbol.asyncDispose]()
  assert.deepEqual((await readCacheFile(site.path))?.identity, issued)
})

test('a certificate is renewed when a third of its lifetime is left, and used until then', async (t) => {
  await using site = await openSite(t)
  await keep(site, certificate())
  const issuer = await site.open()
  const { current } = issuer
  assert.ok(current !== undefined)
  issuer.begin(() => {})
  assert.equal(site.asked.length, 0)
  const passed = await site.untilAsked()
  assert.ok(isAbout(passed, 60), `${passed / day}`)
  assert.equal(issuer.current, current)
  const renewed = selfSigned({ names: hosts, validFrom: 60, validTo: 150 })
  await site.answer(renewed)
  assert.equal(issuer.current, renewed)
  const again = await site.untilAsked()
  assert.ok(isAbout(again, 60), `${again / day}`)
})

test('many that began at one moment do not renew at one', async (t) => {
  await using site = await openSite(t)
  await keep(site, certificate())
  const issuer = await site.open({ random: () => 1 })
  issuer.begin(() => {})
  const passed = await site.untilAsked()
  assert.ok(isAbout(passed, 57), `${passed / day}`)
})

const useless: Readonly<Record<string, () => [identity: Identity, from?: string]>> = {
  'has expired': () => [selfSigned({ names: hosts, validFrom: -90, validTo: -1 })],
  'is not for all hosts': () => [certificate(['a.test'])],
  'is of another authority': () => [certificate(), 'https://staging.test/dir'],
}

for (const [what, make] of Object.entries(useless)) {
  test(`a kept certificate that ${what} is renewed at once, and in use until then`, async (t) => {
    await using site = await openSite(t)
    const [identity, from] = make()
    await keep(site, identity, from)
    const issuer = await site.open()
    issuer.begin(() => {})
    assert.equal(site.asked.length, 1)
    assert.deepEqual(issuer.current, identity)
  })
}

/** Milliseconds between orders that all fail so. */
async function waits(site: Site, error: Error, count: number): Promise<number[]> {
  const found: number[] = []
  for (let order = 0; order < count; order += 1) {
    await site.answer(error)
    found.push(await site.untilAsked())
  }
  return found
}

test('P7: what an authority refuses it is not asked for again within an hour, then ever later, and said once', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open()
  issuer.begin(() => {})
  const refused = new Error('too many certificates already issued')
  const found = await waits(site, refused, 7)
  assert.deepEqual(
    found.map((wait) => wait / hour),
    [1, 2, 4, 8, 16, 24, 24],
  )
  const said = (): number => site.lines.filter(({ level }) => level === 'error').length
  assert.equal(said(), 1)
  assert.match(JSON.stringify(site.lines), /"no certificate was issued: what there is stays in use"/)
  await site.answer(new Error('no such name'))
  assert.equal(said(), 2)
  await site.untilAsked()
  await site.answer(certificate())
  assert.deepEqual(site.lines.at(-1)?.['msg'], 'certificate issued')
})

test('P9: an authority that nobody reaches is asked again a minute later, and in the end every hour', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open()
  issuer.begin(() => {})
  const found = await waits(site, new UnreachableError('authority.test cannot be reached'), 8)
  assert.deepEqual(
    found.map((wait) => wait / minute),
    [1, 2, 4, 8, 16, 32, 60, 60],
  )
  const [refused] = await waits(site, new Error('refused'), 1)
  assert.equal(refused, hour)
})

test('the old certificate stays in use while it cannot be renewed', async (t) => {
  await using site = await openSite(t)
  await keep(site, certificate())
  const issuer = await site.open()
  const { current } = issuer
  issuer.begin(() => assert.fail('there is no other'))
  await site.untilAsked()
  await waits(site, new Error('refused'), 3)
  assert.equal(issuer.current, current)
})

test('a failure that was said already is said again when the old certificate expires', async (t) => {
  await using site = await openSite(t)
  await keep(site, selfSigned({ names: hosts, validFrom: -60, validTo: 1 }))
  const issuer = await site.open()
  issuer.begin(() => {})
  const refused = new Error('refused')
  await waits(site, refused, 4) // 15 hours
  const said = (): unknown[] => site.lines.filter(({ level }) => level === 'error').map(({ expires }) => expires)
  const first = said()
  assert.equal(first.length, 1)
  await waits(site, refused, 3)
  assert.deepEqual(said(), [first[0], first[0]])
})

test('P1: a certificate for other names is not taken, and not asked for again within the hour', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open()
  issuer.begin(() => assert.fail('it is none of ours'))
  await site.answer(certificate(['a.test', 'c.test']))
  assert.equal(issuer.current, undefined)
  assert.match(JSON.stringify(site.lines), /is not for b\.test/)
  assert.equal(await site.untilAsked(), hour)
})

test('P1: a certificate for another key is not taken', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open()
  issuer.begin(() => assert.fail('it is none of ours'))
  await site.answer({ ...certificate(), key: certificate().key })
  assert.equal(issuer.current, undefined)
  assert.match(JSON.stringify(site.lines), /for another key/)
})

test('a certificate that lives for minutes is no reason to ask every minute', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open()
  issuer.begin(() => {})
  await site.answer(selfSigned({ names: hosts, validFrom: -1, validTo: 1 / 1000 }))
  assert.equal(await site.untilAsked(), hour)
})

test('what is proven is a host of ours, for as long as the order runs', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open()
  issuer.begin(() => {})
  const [{ prove } = assert.fail()] = site.asked
  assert.equal(issuer.proofFor('a.test'), undefined)
  prove('a.test', selfSigned())
  prove('c.test', selfSigned())
  prove('b.test', selfSigned())
  prove('b.test', undefined)
  assert.ok(issuer.proofFor('a.test') !== undefined)
  assert.equal(issuer.proofFor('b.test'), undefined)
  assert.equal(issuer.proofFor('c.test'), undefined)
  await site.answer(new Error('not proven'))
  assert.equal(issuer.proofFor('a.test'), undefined)
})

test('a certificate that cannot be kept is used all the same, and that is said', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open()
  await rm(site.path)
  await mkdir(site.path)
  issuer.begin(() => {})
  const issued = certificate()
  await site.answer(issued)
  assert.equal(issuer.current, issued)
  await issuer[Symbol.asyncDispose]()
  assert.match(JSON.stringify(site.lines), /the certificate cannot be kept: it is lost at the next restart/)
})

test('P9: who ends while an order runs calls it off, and says nothing of it', async (t) => {
  await using site = await openSite(t)
  const issuer = await site.open()
  issuer.begin(() => {})
  await issuer[Symbol.asyncDispose]()
  assert.equal(site.asked[0]?.signal.aborted, true)
  await site.answer(new Error('called off'))
  site.pass(2 * day)
  assert.equal(site.asked.length, 1)
  assert.deepEqual(
    site.lines.filter(({ level }) => level === 'error'),
    [],
  )
})

test('a damaged file is an error at start, and stays as it is', async (t) => {
  await using site = await openSite(t)
  await writeFile(site.path, 'words')
  await assert.rejects(site.open(), CacheFileError)
  assert.equal(await readFile(site.path, 'utf8'), 'words')
})
