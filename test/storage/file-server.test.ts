// T-39: a storage folder that is a file server's. It keeps what is open under names of its own, takes files away under our
// hands, and cannot do all that a disk can.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { readdir, unlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { suite, test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { collectGarbage } from '../../src/storage/garbage/collect.ts'
import type { Problem } from '../../src/storage/garbage/mark.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { hasCode, pattern } from '../drivers/conformance.ts'
import { pull } from '../support/client.ts'
import { randomBlob, startOrigin } from '../support/origin.ts'
import { startProxyUnderTest } from '../support/proxy-under-test.ts'
import { temporaryFolder } from '../support/real-parts.ts'
import { replaceCalls } from '../support/system-calls.ts'
import { latest, listed, manifestOf, openStore, name as repositoryName, push } from './fixture.ts'

type Done = (error: Error | null, value?: number) => void

const kept = '.nfs00000000018a2b3c00000001'

function failing(code: string): Error {
  return Object.assign(new Error(code), { code })
}

/** As the client of a file server removes a folder: what is open stays under another name, and cannot be removed again. */
async function removeAsServer(place: string, code: string): Promise<void> {
  const left = await readdir(place, { recursive: true, withFileTypes: true })
  for (const entry of left) {
    if (!entry.isDirectory() && entry.name !== kept) await unlink(join(entry.parentPath, entry.name))
  }
  throw failing(code)
}

suite('T-39: a storage folder on a file server', () => {
  for (const code of ['EBUSY', 'ENOTEMPTY']) {
    test(`T-39: ${code} at the removal of a folder in which only open files are left is none`, async () => {
      await using folder = await temporaryFolder()
      const driver = filesystemDriver({ rootDirectory: folder.path })
      await driver.write('/a/b/data', Buffer.from('x'))
      await driver.write('/a/c/data', Buffer.from('x'))
      await writeFile(join(folder.path, 'a/b', kept), 'open')
      using _ = replaceCalls({}, { rm: async (place: string) => await removeAsServer(place, code) })
      await driver.remove('/a')
      assert.deepEqual(await driver.list('/a/b'), [])
      assert.deepEqual(await driver.list('/a/c'), [])
      await driver.write('/a/b/data', Buffer.from('y')) // and it can be used again
      assert.equal((await driver.read('/a/b/data', 10)).toString(), 'y')
    })

    test(`T-39: ${code} that stays for another reason is said, after a bounded number of tries`, async () => {
      await using folder = await temporaryFolder()
      const driver = filesystemDriver({ rootDirectory: folder.path })
      await driver.write('/a/data', Buffer.from('x'))
      let tries = 0
      {
        const rm = async (): Promise<void> => {
          tries++
          throw failing(code)
        }
        using _ = replaceCalls({}, { rm })
        await assert.rejects(driver.remove('/a'), hasCode(code))
      }
      assert.ok(tries > 1 && tries <= 50, `${tries} tries`)
    })
  }

  test('T-39: names of a file server are nobody’s repository, tag, blob or temporary file', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    const store = openStore(driver)
    const repository = store.repository(repositoryName)
    const digest = await push(repository, pattern(10_000))
    const { descriptor } = await repository.manifests.put(manifestOf('one'))
    await repository.tags.put(latest, descriptor.digest)
    await (await repository.uploads.create()).close()
    await driver.write('/entrepot/tmp/old', Buffer.from('x'))
    await driver.write('/entrepot/damaged/old', Buffer.from('x'))
    await driver.write('/entrepot/fills/old', Buffer.from('x'))
    const entries = await readdir(folder.path, { recursive: true, withFileTypes: true })
    const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name))
    for (const place of [folder.path, ...folders]) await writeFile(join(place, kept), 'open')

    const restarted = openStore(filesystemDriver({ rootDirectory: folder.path }))
    assert.deepEqual(await listed(restarted.list()), [repositoryName])
    const { blobs, manifests, tags } = restarted.repository(repositoryName)
    assert.deepEqual(await listed(tags.list()), [latest])
    assert.deepEqual(await listed(manifests.list()), [descriptor.digest])
    assert.equal((await blobs.stat(digest)).size, 10_000)
    assert.equal((await restarted.sweepTemporary({ age: -60_000 })).files, 3)
    const descriptors = descriptorCache(openFactStore({ kind: 'none' }, silentLogger))
    const problems: Problem[] = []
    const report = await collectGarbage({
      driver,
      descriptors,
      grace: 0,
      dryRun: true,
      deleteUntagged: false,
      onProblem: (problem) => problems.push(problem),
    })
    assert.deepEqual([report.repositories, report.manifests, problems], [1, 1, []])
    assert.equal((await collect((await blobs.open(digest)).body, 10_001)).byteLength, 10_000)
  })

  test('T-39: ESTALE is asked again: another client has put another file in its place', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await driver.write('/f', Buffer.from('right'))
    const { open, read } = fs
    let left = 0
    const fails = (done: Done): boolean => {
      if (left-- <= 0) return false
      setImmediate(done, failing('ESTALE'))
      return true
    }
    const stat = { ...fs.promises }.lstat
    using _ = replaceCalls(
      {
        open: (path: string, flags: number, mode: number, done: Done) => {
          if (!fails(done)) open(path, flags, mode, done)
        },
        read: (fd: number, into: Buffer, offset: number, length: number, at: number, done: Done) => {
          if (!fails(done)) read(fd, into, offset, length, at, done)
        },
      },
      {
        lstat: async (path: string) => {
          if (left-- > 0) throw failing('ESTALE')
          return await stat(path)
        },
      },
    )
    for (const times of [1, 2]) {
      left = times
      assert.equal((await driver.read('/f', 10)).toString(), 'right')
      left = times
      assert.equal((await collect(await driver.open('/f'), 10)).toString(), 'right')
      left = times
      assert.equal((await driver.stat('/f')).size, 5)
    }
    left = 1000
    await assert.rejects(driver.read('/f', 10), hasCode('ESTALE'))
    await assert.rejects(driver.open('/f'), hasCode('ESTALE'))
    await assert.rejects(driver.stat('/f'), hasCode('ESTALE'))
    assert.ok(left > 980, `${1000 - left} tries`)
  })

  test('T-39: without moves between its parts, and without hard links, clients have their bytes and the log says why', async () => {
    await using folder = await temporaryFolder()
    const refused = (): never => {
      throw failing('EPERM')
    }
    const move = { ...fs.promises }.rename
    const isTemporary = (path: string): boolean => path.includes('/entrepot/')
    await using origin = await startOrigin()
    const { bytes, digest } = randomBlob(300_000)
    await origin.addBlob('app', bytes)
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await using app = await startProxyUnderTest(origin, { driver })
    const url = `${app.url}/v2/up/app/blobs/${digest}`
    {
      using _ = replaceCalls(
        { link: refused, linkSync: refused, symlink: refused },
        {
          link: refused,
          symlink: refused,
          rename: async (from: string, to: string) => {
            if (isTemporary(from) !== isTemporary(to)) throw failing('EXDEV')
            await move(from, to)
          },
        },
      )
      const { status, complete, digest: got } = await pull(url)
      assert.deepEqual({ status, complete, got }, { status: 200, complete: true, got: digest })
      await app.until(({ msg }) => msg === 'blob passed through, not stored')
    }
    assert.match(app.text(), /EXDEV/)
    const names = (await readdir(folder.path, { recursive: true })).map((path) => basename(path))
    assert.ok(!names.includes('data'), names.join(' '))
    using _ = replaceCalls({ link: refused, linkSync: refused }, { link: refused })
    for (const from of ['upstream', 'here']) {
      const { status, complete, digest: got } = await pull(url)
      assert.deepEqual({ status, complete, got }, { status: 200, complete: true, got: digest }, from)
      await app.until(({ msg }) => msg === 'fill stored')
    }
  })
})
