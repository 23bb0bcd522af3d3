import assert from 'node:assert/strict'
import { readdirSync, readlinkSync } from 'node:fs'
import { chmod, chown, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { collect, type ByteTarget } from '../../src/bytes/stream.ts'
import { DriverError, PathNotFoundError } from '../../src/drivers/driver.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { makeFilesystem } from '../support/drivers.ts'
import { run, temporaryFolder } from '../support/real-parts.ts'
import { driverConformance, hasCode, pattern } from './conformance.ts'

driverConformance('filesystem', makeFilesystem)

suite('filesystem driver: the file system', () => {
  test('a symbolic link in the place of a file is never followed', async () => {
    await using folder = await temporaryFolder()
    await using outside = await temporaryFolder()
    await writeFile(join(outside.path, 'secret'), 'secret')
    await symlink(join(outside.path, 'secret'), join(folder.path, 'link'))
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await assert.rejects(driver.read('/link', 100), hasCode('ENOTFILE'))
    await assert.rejects(driver.open('/link'), hasCode('ENOTFILE'))
    await assert.rejects(driver.stat('/link'), hasCode('ENOTFILE'))
    await assert.rejects(driver.writer('/link'), hasCode('ENOTFILE'))
    await driver.write('/link', Buffer.from('ours')) // takes the link's place
    assert.equal(await readFile(join(outside.path, 'secret'), 'utf8'), 'secret')
    assert.equal((await driver.read('/link', 100)).toString(), 'ours')
  })

  test('a FIFO in the place of a file makes nobody wait', async () => {
    await using folder = await temporaryFolder()
    await run('mkfifo', [join(folder.path, 'fifo')])
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await assert.rejects(driver.read('/fifo', 100), hasCode('ENOTFILE'))
    await assert.rejects(driver.open('/fifo'), hasCode('ENOTFILE'))
    await assert.rejects(driver.writer('/fifo'), hasCode('ENOTFILE'))
  })

  test('T-38: names that no path can hold, such as lost+found, are left out of a list', async () => {
    await using folder = await temporaryFolder()
    for (const name of ['lost+found', 'a b', 'ä', 'ok']) await mkdir(join(folder.path, name))
    assert.deepEqual(await filesystemDriver({ rootDirectory: folder.path }).list('/'), ['ok'])
  })

  test('P7: a link back to a folder that it lies in cannot be listed; one that leads elsewhere can', async () => {
    await using folder = await temporaryFolder()
    await using outside = await temporaryFolder()
    const root = join(folder.path, 'root')
    await mkdir(join(folder.path, 'real'))
    await symlink('real', root)
    await mkdir(join(root, 'a/b'), { recursive: true })
    await mkdir(join(root, 'c'))
    await symlink('..', join(root, 'a/b/up'))
    await symlink('.', join(root, 'a/self'))
    await symlink('../c', join(root, 'a/beside'))
    await symlink(outside.path, join(root, 'out'))
    await symlink(join(root, 'a'), join(outside.path, 'in'))
    await symlink(folder.path, join(root, 'above'))
    await symlink(root, join(outside.path, 'root'))
    const driver = filesystemDriver({ rootDirectory: root })
    for (const path of ['/a/b/up', '/a/self', '/out/root', '/out/in/self', '/out/in/b/up', '/above/real/above']) {
      await assert.rejects(driver.list(path), hasCode('ENOTFILE'), path)
    }
    assert.deepEqual(await driver.list('/'), ['a', 'above', 'c', 'out'])
    assert.deepEqual(await driver.list('/a'), ['b', 'beside', 'self'])
    assert.deepEqual(await driver.list('/a/beside'), [])
    assert.deepEqual(await driver.list('/out'), ['in', 'root'])
    assert.deepEqual(await driver.list('/out/in'), ['b', 'beside', 'self'])
    assert.deepEqual(await driver.list('/above'), ['real', 'root'])
  })

  test('files and folders are not for everyone, and what others wrote keeps its mode', async () => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'theirs'))
    await writeFile(join(folder.path, 'theirs/file'), 'x')
    await chmod(join(folder.path, 'theirs/file'), 0o644)
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await driver.write('/ours/file', Buffer.from('x'))
    await driver.move('/theirs/file', '/ours/theirs')
    await (await driver.writer('/ours/grown')).close()
    const mode = async (name: string): Promise<number> => (await stat(join(folder.path, name))).mode & 0o777
    const allowed = ~process.umask()
    assert.equal(await mode('ours'), 0o750 & allowed)
    assert.equal(await mode('ours/file'), 0o640 & allowed)
    assert.equal(await mode('ours/grown'), 0o640 & allowed)
    assert.equal(await mode('ours/theirs'), 0o644)
  })

  test(
    'what root writes belongs to whom the root folder belongs to',
    { skip: process.getuid?.() !== 0 && 'this is not root' },
    async () => {
      await using folder = await temporaryFolder()
      await chown(folder.path, 1234, 2345)
      const driver = filesystemDriver({ rootDirectory: folder.path })
      await driver.write('/a/b/written', Buffer.from('x'))
      await (await driver.writer('/c/grown')).close()
      await driver.move('/c/grown', '/d/moved')
      for (const name of ['a', 'a/b', 'a/b/written', 'c', 'd', 'd/moved', 'entrepot/tmp']) {
        const { uid, gid } = await stat(join(folder.path, name))
        assert.deepEqual([uid, gid], [1234, 2345], name)
      }
    },
  )

  test('a root that does not exist yet is made when something is written', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: join(folder.path, 'not/yet') })
    await assert.rejects(driver.list('/'), PathNotFoundError)
    await driver.write('/a', Buffer.from('x'))
    assert.equal(await readFile(join(folder.path, 'not/yet/a'), 'utf8'), 'x')
  })

  test('files that are written to a folder while it is removed fail nobody', async () => {
    await using folder = await temporaryFolder()
    // As two processes do it: neither knows of the other's folders.
    const [one, other] = [folder.path, folder.path].map((rootDirectory) => filesystemDriver({ rootDirectory }))
    assert.ok(one !== undefined && other !== undefined)
    for (let round = 0; round < 100; round++) {
      const removed = other.remove('/t').catch((error: unknown) => {
        if (!(error instanceof PathNotFoundError)) throw error
      })
      const written = ['/t/current/link', '/t/index/link', '/t/link'].map(
        async (path) => await one.write(path, Buffer.from(path)),
      )
      const moved = one.write('/from', Buffer.from('x')).then(async () => await one.move('/from', '/t/moved/to'))
      await Promise.all([removed, moved, ...written])
    }
  })

  test('P2: a write that fails leaves the old bytes and no temporary file', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await driver.write('/a/f/inner', Buffer.from('old'))
    await assert.rejects(driver.write('/a/f', Buffer.from('new')), DriverError)
    assert.equal((await driver.read('/a/f/inner', 10)).toString(), 'old')
    assert.deepEqual(await readdir(join(folder.path, 'entrepot/tmp')), [])
  })

  test('T-31: a disk that fills up is ENOSPC, and what it took is counted', async (context) => {
    await using folder = await temporaryFolder()
    try {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder.path])
    } catch {
      context.skip('a small disk cannot be mounted here')
      return
    }
    try {
      const driver = filesystemDriver({ rootDirectory: folder.path })
      await driver.write('/state', Buffer.from('old'))
      await using writer = await driver.writer('/growing')
      await assert.rejects(writer.write(pattern(6 * 1024 * 1024)), hasCode('ENOSPC'))
      assert.equal((await driver.stat('/growing')).size, writer.size)
      assert.ok(writer.size > 3 * 1024 * 1024)
      await assert.rejects(driver.write('/state', Buffer.alloc(10_000)), hasCode('ENOSPC'))
      assert.equal((await driver.read('/state', 10)).toString(), 'old')
      assert.deepEqual(await driver.list('/entrepot/tmp'), [])
      await driver.remove('/growing')
      await writer.close()
      await driver.write('/state', Buffer.from('new'))
    } finally {
      await run('umount', [folder.path])
    }
  })

  test(
    'the medium’s own errors keep their code',
    { skip: process.getuid?.() === 0 && 'root may do anything' },
    async () => {
      await using folder = await temporaryFolder()
      const driver = filesystemDriver({ rootDirectory: folder.path })
      await driver.write('/closed/f', Buffer.from('x'))
      await chmod(join(folder.path, 'closed'), 0o000)
      await assert.rejects(driver.read('/closed/f', 10), hasCode('EACCES'))
      await assert.rejects(driver.stat('/closed/f'), hasCode('EACCES'))
      await chmod(join(folder.path, 'closed'), 0o700)
    },
  )
})

suite('filesystem driver: what it holds', () => {
  test('every descriptor is closed, however a stream ends', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await driver.write('/small', pattern(1000))
    await driver.write('/large', pattern(3 * 1024 * 1024))
    for (const path of ['/small', '/large']) {
      await collect(await driver.open(path), 4 * 1024 * 1024)
      for await (const _ of await driver.open(path)) break
      await (await driver.open(path))[Symbol.asyncDispose]()
      const iterator = (await driver.open(path))[Symbol.asyncIterator]()
      await iterator.return?.()
      const busy = await driver.open(path)
      const next = busy[Symbol.asyncIterator]().next()
      await Promise.all([busy[Symbol.asyncDispose](), busy[Symbol.asyncDispose](), next])
      await assert.rejects(collect(await driver.open(path), 10)) // TooLargeError
      await assert.rejects(collect(await driver.open(path, { start: 0, end: 4e6 }), 1e7), hasCode('ESHORT'))
      await assert.rejects(driver.read(path, 10), hasCode('EFBIG'))
    }
    await assert.rejects(driver.open('/'), hasCode('ENOTFILE'))
    await (await driver.writer('/new/file')).close()
    await assert.rejects(driver.writer('/new'), hasCode('ENOTFILE'))
    assert.deepEqual(openFilesBelow(folder.path), [])
  })

  test('a file that ends before the range does fails with ESHORT, however much of it the system has sent', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await driver.write('/f', pattern(1000))
    for (const most of [0, 10, 1000]) {
      const stream = await driver.open('/f', { start: 0, end: 1001 })
      let sent = 0
      let written = 0
      const target: ByteTarget = {
        async sendFile(_file, position, length) {
          const taken = Math.min(length, Math.max(0, most - position))
          sent += taken
          return taken
        },
        async write(bytes) {
          assert.ok(bytes.byteLength > 0)
          written += bytes.byteLength
        },
      }
      await assert.rejects(async () => await stream.transferTo?.(target), hasCode('ESHORT'))
      assert.equal(sent + written, 1000)
    }
    assert.deepEqual(openFilesBelow(folder.path), [])
  })

  test('a stream that is drained slowly holds no descriptor once the last byte is read', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await driver.write('/small', pattern(1000))
    for await (const _ of await driver.open('/small')) {
      while (openFilesBelow(folder.path).length > 0) await driver.stat('/small') // it is closed meanwhile
    }
  })

  test('a chunk is not touched until the next one is asked for', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    const bytes = pattern(4 * 1024 * 1024)
    await driver.write('/f', bytes)
    let at = 0
    for await (const chunk of await driver.open('/f')) {
      const before = Buffer.from(chunk)
      await collect(await driver.open('/f'), bytes.byteLength) // another reader, meanwhile
      assert.ok(before.equals(chunk))
      assert.ok(before.equals(bytes.subarray(at, at + chunk.byteLength)))
      at += chunk.byteLength
    }
    assert.equal(at, bytes.byteLength)
  })

  test('P7: a thousand streams of one file share what they read', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await driver.write('/f', pattern(2 * 1024 * 1024))
    const streams = await Promise.all(Array.from({ length: 1000 }, async () => await driver.open('/f')))
    const iterators = streams.map((stream) => stream[Symbol.asyncIterator]())
    const firsts = await Promise.all(iterators.map(async (iterator) => await iterator.next()))
    const buffers = new Set(firsts.map(({ value }) => value?.buffer))
    assert.equal(buffers.size, 1, 'they read the same block')
    await Promise.all(streams.map(async (stream) => await stream[Symbol.asyncDispose]()))
    assert.deepEqual(openFilesBelow(folder.path), [])
  })
})

/** The files below a folder that this process has open. */
function openFilesBelow(folder: string): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        return '' // the one that listed the folder
      }
    })
    .filter((target) => target.startsWith(folder))
}
