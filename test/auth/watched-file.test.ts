import assert from 'node:assert/strict'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { TokenController, type TokenOptions } from '../../src/auth/token.ts'
import { WatchedFile } from '../../src/auth/watched-file.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { makeAuthority, type Certified } from '../support/certificates.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { chained, der } from './chained.ts'
import { ec, issuer, jwkOf, keySet, minted, now, service, stranger } from './tokens.ts'

test('what a file says now is what counts, within a second, and it is not looked at more often', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'file')
  let time = 0
  let parsed = 0
  const parse = (text: string): string => {
    parsed += 1
    if (text === 'broken') throw new Error('no good')
    return text
  }
  const { logger, lines } = recordingLogger()
  await writeFile(path, 'one')
  const file = await WatchedFile.open({ key: 'auth.a', path, parse, logger, clock: () => time })
  const replace = async (text: string): Promise<void> => {
    await writeFile(`${path}.new`, text)
    await rename(`${path}.new`, path)
  }
  await replace('two')
  time = 999
  assert.equal(await file.content(), 'one')
  time = 1000
  assert.equal(await file.content(), 'two')
  time = 2000
  assert.equal(await file.content(), 'two')
  assert.equal(parsed, 2)
  for (const text of ['broken', 'broken', 'three']) {
    await replace(text)
    time += 1000
    assert.equal(await file.content(), text === 'broken' ? 'two' : text)
  }
  await rm(path)
  time += 1000
  assert.equal(await file.content(), 'three')
  const again = 'a file of auth has changed and was read again'
  const kept = 'a file of auth cannot be read: what it said last counts'
  assert.deepEqual(
    lines.map(({ msg }) => msg),
    [again, kept, again, kept],
  )
})

async function opened(
  options: Partial<TokenOptions>,
): Promise<{ controller: TokenController; later: () => void; isGood: (token: string) => Promise<boolean> }> {
  let time = 0
  const controller = await TokenController.open({
    realm: 'https://auth.test/token',
    service,
    issuer,
    rootCertBundle: undefined,
    jwks: undefined,
    signingAlgorithms: undefined,
    autoRedirectPath: undefined,
    externalUrl: undefined,
    logger: recordingLogger().logger,
    now: () => now * 1000,
    clock: () => time,
    ...options,
  })
  const later = (): void => void (time += 1000)
  const isGood = async (token: string): Promise<boolean> => {
    const facts = { address: undefined, host: undefined, authorization: `Bearer ${token}` }
    return !('reason' in (await controller.verify(facts, [])))
  }
  return { controller, later, isGood }
}

test('a key that is taken out of the file of keys is trusted no more, one that is put in is; rubbish changes nothing', async () => {
  await using folder = await temporaryFolder()
  const jwks = join(folder.path, 'keys.json')
  await writeFile(jwks, keySet())
  const { later, isGood } = await opened({ jwks })
  const token = minted()
  assert.equal(await isGood(token), true)
  for (const rubbish of ['', '{"keys":[]}', '{"keys":[{']) {
    await writeFile(jwks, rubbish)
    later()
    assert.equal(await isGood(token), true)
  }
  await writeFile(jwks, JSON.stringify({ keys: [jwkOf(stranger.publicKey, 'other')] }))
  later()
  assert.equal(await isGood(token), false)
  await writeFile(jwks, JSON.stringify({ keys: [jwkOf(ec.publicKey, 'ec')] }))
  later()
  assert.equal(await isGood(token), true)
})

test('an authority that is taken out of the bundle has nothing to say any more, one that is put in has', async () => {
  await using folder = await temporaryFolder()
  const rootCertBundle = join(folder.path, 'bundle.pem')
  const [first, second] = [makeAuthority(), makeAuthority()]
  const chainOf = (leaf: Certified): string => chained([der(leaf)], leaf)
  const [byFirst, bySecond] = [chainOf(first.issue()), chainOf(second.issue())]
  const found = async (isGood: (token: string) => Promise<boolean>): Promise<boolean[]> => [
    await isGood(byFirst),
    await isGood(bySecond),
  ]
  await writeFile(rootCertBundle, first.certificate)
  const { later, isGood } = await opened({ rootCertBundle })
  assert.deepEqual(await found(isGood), [true, false])
  await writeFile(rootCertBundle, first.certificate + second.certificate)
  later()
  assert.deepEqual(await found(isGood), [true, true])
  await writeFile(rootCertBundle, second.certificate)
  later()
  assert.deepEqual(await found(isGood), [false, true])
  await writeFile(rootCertBundle, '')
  later()
  assert.deepEqual(await found(isGood), [false, true])
})
