import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, type RepositoryName } from '../../src/oci/reference.ts'
import { DriverError, PathNotFoundError, type StorageDriver } from '../../src/drivers/driver.ts'
import { blobPath, fillPath, repositoriesRoot } from '../../src/storage/layout.ts'
import { owner } from '../../src/drivers/process-owner.ts'
import type { UploadId } from '../../src/registry/store.ts'
import { isUploadId } from '../../src/storage/upload.ts'
import { chunksOf, listed, manifestOf, storageSuite, type Fixture } from './fixture.ts'

async function fill({ store }: Fixture, ...names: string[]): Promise<void> {
  for (const text of names) await store.repository(parseRepositoryName(text)).manifests.put(manifestOf('a'))
}

storageSuite('the list of repositories', (check) => {
  check('it is in the order of a walk, parents before what is in them', async (fixture) => {
    await fill(fixture, 'a-b', 'a/b', 'a', 'a.b/c', 'b', 'a/b/c/d', 'a/b-c', '0')
    assert.deepEqual(await listed(fixture.store.list()), ['0', 'a', 'a/b', 'a/b/c/d', 'a/b-c', 'a-b', 'a.b/c', 'b'])
  })

  check('it goes on after any name, whether or not that exists', async (fixture) => {
    await fill(fixture, 'a', 'a/b', 'a/b/c', 'a-b', 'b')
    const after = async (name: string): Promise<RepositoryName[]> => await listed(fixture.store.list({ after: name }))
    assert.deepEqual(await after('a'), ['a/b', 'a/b/c', 'a-b', 'b'])
    assert.deepEqual(await after('a/b'), ['a/b/c', 'a-b', 'b'])
    assert.deepEqual(await after('a/a'), ['a/b', 'a/b/c', 'a-b', 'b'])
    assert.deepEqual(await after('a/b/c'), ['a-b', 'b'])
    assert.deepEqual(await after('a/z/z'), ['a-b', 'b'])
    assert.deepEqual(await after('aa'), ['b'])
    assert.deepEqual(await after('b'), [])
    assert.deepEqual(await after(''), ['a', 'a/b', 'a/b/c', 'a-b', 'b'])
  })

  check('what lies before the start is not walked', async (fixture) => {
    await fill(fixture, 'a/one', 'a/two', 'b/one', 'c/one')
    fixture.driver.arm(0)
    assert.deepEqual(await listed(fixture.store.list({ after: 'b/one' })), ['c/one'])
    const walked = fixture.driver.calls.map(({ path }) => path.replace('/docker/registry/v2/repositories', ''))
    assert.ok(
      walked.every((path) => !path.startsWith('/a')),
      walked.join(' '),
    )
  })

  check('a walk stops where its reader stops', async (fixture) => {
    await fill(fixture, 'a/one', 'b/one', 'c/one')
    fixture.driver.arm(0)
    for await (const _ of fixture.store.list()) break
    assert.ok(fixture.driver.calls.every(({ path }) => !path.includes('/c/')))
  })

  check('strangers among the folders are passed over', async (fixture) => {
    await fill(fixture, 'a/b')
    const root = '/docker/registry/v2/repositories'
    for (const path of [
      '/file',
      '/a/file',
      '/UPPER/_manifests/x',
      '/_odd/_manifests/x',
      '/a/b/_layers/x',
      '/empty/x/y',
    ]) {
      await fixture.driver.write(root + path, Buffer.from('x'))
    }
    assert.deepEqual(await listed(fixture.store.list()), ['a/b'])
  })

  check('a repository with nothing but uploads or layers holds nothing yet', async ({ store }) => {
    await (await store.repository(parseRepositoryName('only/upload')).uploads.create()).close()
    await store.repository(parseRepositoryName('only/blob')).blobs.put(Buffer.from('x'))
    assert.deepEqual(await listed(store.list()), [])
  })

  check('an empty storage has no repositories', async ({ store }) => {
    assert.deepEqual(await listed(store.list()), [])
    assert.equal(await store.summary(), 'no repositories')
  })

  check('folders that vanish during the walk end nothing', async (fixture) => {
    await fill(fixture, 'a/one', 'b/one', 'c/one')
    const seen = []
    for await (const name of fixture.store.list()) {
      seen.push(name)
      if (name === 'a/one') await fixture.driver.remove('/docker/registry/v2/repositories/b')
    }
    assert.deepEqual(seen, ['a/one', 'c/one'])
  })

  check('the summary counts them', async (fixture) => {
    await fill(fixture, 'a')
    assert.equal(await fixture.store.summary(), '1 repository')
    await fill(fixture, 'a/b')
    assert.equal(await fixture.store.summary(), '2 repositories')
  })
})

async function isThere(driver: StorageDriver, path: string): Promise<boolean> {
  try {
    await driver.stat(path)
    return true
  } catch (error) {
    if (error instanceof PathNotFoundError) return false
    throw error
  }
}

function idOf(nth: number): UploadId {
  const id = `00000000-0000-0000-0000-${String(nth).padStart(12, '0')}`
  assert.ok(isUploadId(id))
  return id
}

storageSuite('the sweep of temporary files', (check) => {
  check(
    'P9: what a dead process left goes once it is old, what is open here stays',
    async ({ store, driver, restart }) => {
      await driver.write('/entrepot/tmp/left', Buffer.from('1234'))
      await driver.write('/entrepot/fills/left', Buffer.from('123456'))
      await driver.write('/entrepot/damaged/left', Buffer.from('1'))
      await driver.write('/entrepot/aliases/sha512/left', Buffer.from('kept'))
      await using upload = await store.content.receive({ digest: digestOf('running') })
      await upload.append(chunksOf(Buffer.from('running'), 7))
      assert.deepEqual(await store.sweepTemporary({ age: 60_000 }), { files: 0, bytes: 0 })
      assert.deepEqual(await store.sweepTemporary({ age: -60_000 }), { files: 3, bytes: 11 })
      const path = fillPath(digestOf('running'), owner, upload.id)
      assert.deepEqual(await driver.list('/entrepot/fills'), [basename(path)])
      assert.equal((await driver.stat(path)).size, 7)
      assert.equal((await driver.read('/entrepot/aliases/sha512/left', 10)).toString(), 'kept')
      assert.equal((await restart().sweepTemporary({ age: -60_000 })).files, 1)
    },
  )

  check('T-42, P9: at once goes what nobody can use; of a blob in part, the largest piece stays', async (fixture) => {
    const { store, driver } = fixture
    const [machine = ''] = owner.split('-')
    const dead = `${machine}-${process.pid}-before`
    const living = `${machine}-1-alive`
    const place = (of: string, whose: string, nth: number): string => fillPath(digestOf(of), whose, idOf(nth))
    const here = (await fixture.repository.blobs.put(Buffer.from('here'))).digest
    const files: readonly (readonly [path: string, size: number, stays: boolean])[] = [
      [`/entrepot/tmp/${dead}.${idOf(1)}`, 5, false],
      [`/entrepot/tmp/${living}.${idOf(1)}`, 5, true],
      [`/entrepot/tmp/elsewhere-${process.pid}-1.${idOf(1)}`, 5, true],
      [`/entrepot/tmp/${owner}.${idOf(1)}`, 5, true],
      [`/entrepot/tmp/left`, 5, true],
      [`/entrepot/damaged/${dead}.${idOf(1)}`, 5, true],
      [place('one', dead, 1), 0, false],
      [place('one', 'kept', 2), 3, false],
      [place('one', dead, 3), 7, true],
      [place('one', 'kept', 4), 7, false],
      [place('one', living, 5), 1, true],
      [place('two', living, 6), 0, true],
      [place('two', 'elsewhere-1-1', 7), 0, true],
      [place('two', 'kept', 8), 1, true],
      [fillPath(here, dead, idOf(9)), 2, false],
      [place('unreadable', dead, 10), 2, false],
      [`/entrepot/fills/stranger`, 2, true],
    ]
    for (const [path, size] of files) {
      await using writer = await driver.writer(path)
      await writer.write(Buffer.alloc(size))
    }
    const open = driver.open.bind(driver)
    driver.open = async (path, range) => {
      if (path === place('unreadable', dead, 10)) throw new DriverError('EACCES', 'another user’s')
      return await open(path, range)
    }
    assert.deepEqual(await store.sweepTemporary({ age: 60_000 }), { files: 6, bytes: 19 })
    for (const [path, , stays] of files) assert.equal(await isThere(driver, path), stays, path)
    assert.ok(await isThere(driver, blobPath(here)))
  })

  check('P7: of blobs in part no more than the bound is kept, and the newest', async ({ store, driver }) => {
    const paths: string[] = []
    const modified = new Map<string, Date>()
    for (let nth = 0; nth < 5; nth++) {
      const path = fillPath(digestOf(`part ${nth}`), 'kept', idOf(nth))
      await driver.write(path, Buffer.alloc(10))
      paths.push(path)
      modified.set(path, new Date(Date.now() - 1000 * ((nth * 2) % 5))) // their names say nothing of it
    }
    const stat = driver.stat.bind(driver)
    driver.stat = async (path) => {
      const found = await stat(path)
      return { ...found, modified: modified.get(path) ?? found.modified }
    }
    assert.deepEqual(await store.sweepTemporary({ age: 60_000, leftovers: 29 }), { files: 3, bytes: 30 })
    const left = []
    for (const [nth, path] of paths.entries()) if (await isThere(driver, path)) left.push(nth)
    assert.deepEqual(left, [0, 3])
    assert.equal((await store.sweepTemporary({ age: 60_000, leftovers: 9 })).files, 2, 'not even one that is too large')
  })

  check(
    'P9: beside a living server, a starting one takes nothing that is in use',
    async ({ store, driver, restart }) => {
      const digest = digestOf('whole')
      const kept = await store.content.receive({ digest })
      await kept.append(chunksOf(Buffer.from('wh'), 1))
      await kept.close()
      await using running = await store.content.receive({ digest }) // goes on with what was kept
      assert.equal(running.size, 2)
      await using empty = await store.content.receive({ digest: digestOf('not yet begun') })
      assert.equal((await restart().sweepTemporary({ age: 60_000, leftovers: 0 })).files, 0)
      await running.append(chunksOf(Buffer.from('ole'), 2))
      assert.equal((await running.commit(digest)).size, 5)
      await empty.append(chunksOf(Buffer.from('not yet begun'), 4))
      await empty.commit(digestOf('not yet begun'))
      assert.deepEqual(await driver.list('/entrepot/fills'), [])
    },
  )

  check('an entry that cannot be swept stops no other', async ({ store, driver, log }) => {
    const paths = ['/entrepot/fills/a', '/entrepot/fills/b', '/entrepot/fills/c', '/entrepot/swept/x/origins']
    for (const path of paths) await driver.write(path, Buffer.from('x'))
    const list = driver.list.bind(driver)
    driver.list = async (path) => {
      if (path === '/entrepot/tmp') throw new DriverError('EACCES', 'another user’s')
      return await list(path)
    }
    const stat = driver.stat.bind(driver)
    driver.stat = async (path) => {
      if (path === '/entrepot/fills/a') throw new DriverError('EIO', 'broken')
      if (path === '/entrepot/fills/b') throw new DriverError('ENOTFILE', 'a symbolic link')
      if (path.startsWith('/entrepot/swept')) throw new DriverError('ENOTFILE', 'a symbolic link')
      return await stat(path)
    }
    assert.equal((await store.sweepTemporary({ age: -60_000 })).files, 2)
    assert.deepEqual(await driver.list('/entrepot/fills'), ['a'])
    assert.equal(log.lines.filter(({ level }) => level === 'warn').length, 3)
  })

  check('age is told by the clock of the file system, not by ours', async ({ store, driver }) => {
    await driver.write('/entrepot/fills/young', Buffer.from('x'))
    const stat = driver.stat.bind(driver)
    driver.stat = async (path) => {
      const found = await stat(path)
      return { ...found, modified: new Date(found.modified.getTime() - 24 * 3_600_000) } // its clock is a day behind
    }
    assert.equal((await store.sweepTemporary({ age: 3_600_000 })).files, 0)
    assert.deepEqual(await driver.list('/entrepot/tmp'), [])
  })

  check('there is nothing to sweep where nothing was stored', async ({ store }) => {
    assert.deepEqual(await store.sweepTemporary({ age: 0 }), { files: 0, bytes: 0 })
  })
})

storageSuite('storage that cannot be written to', (check) => {
  check('nothing is said, and nothing left, where it can be', async ({ store, driver, log }) => {
    await store.checkWritable()
    assert.deepEqual(log.lines, [])
    assert.deepEqual(await driver.list('/docker/registry/v2/blobs'), [])
    assert.deepEqual(await driver.list('/entrepot/tmp'), [])
  })

  check('repositories are tried as blobs are, and nothing is left there', async (fixture) => {
    const { store, driver, log, repository } = fixture
    await repository.manifests.put(manifestOf('a'))
    const before = log.lines.length
    await store.checkWritable()
    assert.equal(log.lines.length, before)
    assert.deepEqual(await driver.list(repositoriesRoot), ['library'])
    const move = driver.move.bind(driver)
    driver.move = async (from, to) => {
      if (to.startsWith(`${repositoriesRoot}/`)) throw new DriverError('EACCES', `EACCES at ${to}`)
      await move(from, to)
    }
    await store.checkWritable()
    const told = log.lines.slice(before)
    assert.deepEqual(
      told.map(({ level, msg }) => [level, msg]),
      [['error', 'nothing can be stored: this user may not write to the storage folder']],
    )
    assert.match(JSON.stringify(told), /EACCES at [^"]*\/repositories\//)
    assert.deepEqual(await driver.list(repositoriesRoot), ['library'])
    assert.deepEqual(await driver.list('/docker/registry/v2/blobs'), ['sha256'])
    assert.deepEqual(await driver.list('/entrepot/tmp'), [])
  })

  check('P3: repositories that are not there are not made: they may not be mounted', async ({ store, driver, log }) => {
    await driver.write(blobPath(digestOf('stored')), Buffer.from('stored'))
    await store.checkWritable()
    assert.deepEqual(log.lines, [])
    await assert.rejects(driver.list(repositoriesRoot), PathNotFoundError)
  })

  for (const [code, nth, sentence] of [
    ['EXDEV', 2, /must lie on one file system/],
    ['EACCES', 1, /may not write/],
    ['EROFS', 1, /read-only/],
    ['ENOSPC', 1, /full/],
    ['EIO', 1, /could not be written/],
  ] as const) {
    check(`${code} is one sentence in the log, and no failure`, async ({ store, driver, log }) => {
      driver.arm(nth, code)
      await store.checkWritable()
      assert.equal(log.lines.length, 1)
      assert.equal(log.lines[0]?.['level'], 'error')
      assert.match(String(log.lines[0]?.['msg']), sentence)
      assert.deepEqual(await driver.list('/entrepot/tmp').catch(() => []), [])
    })
  }
})
