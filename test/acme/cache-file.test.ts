// `cachefile`: what is kept is found again, and what cannot be read is left alone.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, readlink, stat, writeFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { CacheFileError, checkCacheFile, readCacheFile, writeCacheFile, type Kept } from '../../src/acme/cache-file.ts'
import { selfSigned } from '../support/certificates.ts'
import { temporaryFolder } from '../support/app-under-test.ts'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const account = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const identity = selfSigned({ names: ['a.test'] })
const whole: Kept = { directory: 'https://authority.test/dir', account, identity }

test('what is kept is read again, with a certificate and without', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cache.json')
  assert.equal(await readCacheFile(path), undefined)
  for (const kept of [{ ...whole, identity: undefined }, whole]) {
    await writeCacheFile(path, kept)
    assert.deepEqual(await readCacheFile(path), kept)
  }
})

test('P2, P8: the file comes whole under its name, for nobody but us, whatever lay there or beside', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cache.json')
  await writeFile(path, 'old', { mode: 0o644 })
  await writeFile(`${path}.new`, 'torn', { mode: 0o666 })
  await writeCacheFile(path, whole)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(folder.path), ['cache.json'])
})

test('P2: the file is synced before it has its name, and its folder behind it', async (context) => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cache.json')
  await using handle = await open(folder.path)
  const synced: string[] = []
  const { sync } = handle // oxlint-disable-line typescript/unbound-method -- it is called on whichever file is synced
  context.mock.method(Object.getPrototypeOf(handle) as FileHandle, 'sync', async function (this: FileHandle) {
    synced.push(await readlink(`/proc/self/fd/${this.fd}`))
    await sync.call(this)
  })
  await writeCacheFile(path, whole)
  assert.deepEqual(synced, [`${path}.new`, folder.path])
})

const damaged: Readonly<Record<string, string>> = {
  'an empty file': '',
  'a torn file': JSON.stringify({ ...whole, ...identity }).slice(0, 300),
  'another program’s file': '{"letsencrypt":1}',
  'a list': '[]',
  'no object': 'null',
  'an account key that is none': JSON.stringify({ ...whole, account: 'words' }),
  'a certificate without its key': JSON.stringify({ ...whole, certificate: identity.certificate }),
  'the key of another certificate': JSON.stringify({ ...whole, ...identity, key: selfSigned().key }),
}

for (const [what, text] of Object.entries(damaged)) {
  test(`${what} in its place is an error that quotes nothing of it, and is left as it is`, async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'cache.json')
    await writeFile(path, text)
    await assert.rejects(readCacheFile(path), (error: unknown) => {
      assert.ok(error instanceof CacheFileError)
      assert.match(error.message, /cache\.json is damaged, or not ours: nothing is written over it/)
      assert.doesNotMatch(error.message, /BEGIN|words/)
      return true
    })
    assert.equal(await readFile(path, 'utf8'), text)
  })
}

test('a folder, as distribution keeps one, is said to be one', async () => {
  await using folder = await temporaryFolder()
  await assert.rejects(readCacheFile(folder.path), /is a folder, such as distribution keeps, expected a file$/)
})

test('a place where nothing can be written is said, and what was there stays', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cache.json')
  await writeCacheFile(path, whole)
  await assert.rejects(
    writeCacheFile(join(folder.path, 'gone/cache.json'), whole),
    /cache\.json cannot be written: ENOENT$/,
  )
  await mkdir(`${path}.new`) // as unwritable for root as for others
  await chmod(path, 0o400)
  await assert.rejects(writeCacheFile(path, { ...whole, directory: 'other' }), /cache\.json cannot be written: \w+$/)
  assert.deepEqual(await readCacheFile(path), whole)
})

test('a check says what a start would, and writes nothing', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cache.json')
  await checkCacheFile(path)
  assert.deepEqual(await readdir(folder.path), [])
  await assert.rejects(checkCacheFile(join(folder.path, 'gone/cache.json')), /cache\.json cannot be written: ENOENT$/)
  await writeCacheFile(path, whole)
  await checkCacheFile(path)
  await writeFile(path, 'words')
  await assert.rejects(checkCacheFile(path), CacheFileError)
})
