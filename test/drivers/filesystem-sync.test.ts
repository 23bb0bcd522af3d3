// What a slow or failing sync of the disk does to everyone else.
import assert from 'node:assert/strict'
import { readdirSync, readlinkSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { deferred } from '../../src/async/deferred.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { temporaryFolder } from '../support/real-parts.ts'
import { replaceSync } from '../support/system-calls.ts'
import { hasCode } from './conformance.ts'

type Done = (error: Error | null) => void

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      return [] // the one that listed the folder
    }
  })
}

suite('filesystem driver: syncing', () => {
  test('at most two syncs run at once, so that threads are left for those who read', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    let running = 0
    let most = 0
    using _ = replaceSync((fd, done, real) => {
      most = Math.max(most, ++running)
      real(fd, (error) => {
        running--
        done(error)
      })
    })
    const names = Array.from({ length: 20 }, (_each, at) => `/${at}`)
    const writers = await Promise.all(names.map(async (path) => await driver.writer(path)))
    await Promise.all(writers.map(async (writer) => await writer.sync()))
    await Promise.all(writers.map(async (writer) => await writer.close()))
    assert.equal(most, 2)
  })

  test('closing waits for a sync that is under way: its descriptor must not be another file’s by then', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    const writer = await driver.writer('/f')
    const place = join(folder.path, 'f')
    const asked = deferred()
    const held = deferred()
    using _ = replaceSync((fd, done, real) => {
      asked.resolve()
      void held.promise.then(() => real(fd, done))
    })
    const syncing = writer.sync()
    await asked.promise
    const closing = writer.close()
    for (let turn = 0; turn < 10; turn++) await driver.stat('/f') // more than a close takes
    assert.ok(openFiles().includes(place))
    held.resolve()
    await syncing
    await closing
    assert.ok(!openFiles().includes(place))
  })

  test('P2: what could not be synced once is never said to be durable, though the system says so next time', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await using writer = await driver.writer('/f')
    await writer.write(Buffer.from('x'))
    {
      using _ = replaceSync((_fd, done) => done(Object.assign(new Error('I/O error'), { code: 'EIO' })))
      await assert.rejects(writer.sync(), hasCode('EIO'))
    }
    await assert.rejects(writer.sync(), hasCode('EIO'))
    await (await driver.writer('/g')).sync()
  })

  test('a folder that cannot be made durable leaves no descriptor open', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    const syncing = deferred()
    const waiting: Done[] = []
    using _ = replaceSync((_fd, done) => {
      waiting.push(done)
      syncing.resolve()
    })
    const first = driver.writer('/made/first')
    first.catch(() => {})
    await syncing.promise
    const second = driver.writer('/made/second')
    second.catch(() => {})
    const place = join(folder.path, 'made/second')
    while (!openFiles().includes(place)) await driver.stat('/')
    await driver.stat('/') // one more turn than it takes to see that the folder is being made
    for (const done of waiting) done(Object.assign(new Error('I/O error'), { code: 'EIO' }))
    await assert.rejects(first, hasCode('EIO'))
    await assert.rejects(second, hasCode('EIO'))
    assert.deepEqual(
      openFiles().filter((path) => path.startsWith(folder.path)),
      [],
    )
  })

  test('P2: a folder that a dead process has made is made durable before anything in it counts, once', async () => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'a/b'), { recursive: true })
    const driver = filesystemDriver({ rootDirectory: folder.path })
    let synced: string[] = []
    using _ = replaceSync((fd, done, real) => {
      synced.push(readlinkSync(`/proc/self/fd/${fd}`).slice(folder.path.length) || '/')
      real(fd, done)
    })
    await driver.write('/warm', Buffer.from('x'))
    synced = []
    await driver.write('/a/b/f', Buffer.from('x'))
    assert.deepEqual(synced.slice(1), ['/a', '/', '/a/b']) // after the file itself; the last, for its name
    synced = []
    await driver.write('/a/b/f', Buffer.from('y'))
    assert.deepEqual(synced.slice(1), ['/a/b'])
  })

  test('P2: what is removed does not come back: the folder it was in is synced', async () => {
    await using folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    await driver.write('/a/b/f', Buffer.from('x'))
    const synced: string[] = []
    using _ = replaceSync((fd, done, real) => {
      synced.push(readlinkSync(`/proc/self/fd/${fd}`).slice(folder.path.length))
      real(fd, done)
    })
    await driver.remove('/a/b/f')
    assert.deepEqual(synced.splice(0), ['/a/b'])
    await driver.remove('/a/b', { ifEmpty: true })
    assert.deepEqual(synced.splice(0), ['/a'])
    await driver.write('/a/c/f', Buffer.from('x'))
    synced.splice(0)
    await driver.remove('/a/c')
    assert.deepEqual(synced, ['/a'])
  })
})
