// Long lists: a page costs what is on it, and shows what is there now.
import assert from 'node:assert/strict'
import { mkdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mock, suite, test } from 'node:test'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { DriverError, PathNotFoundError, type StorageDriver } from '../../src/drivers/driver.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import { linkPath, manifestsFolder, repositoriesRoot, tagCurrentPath, tagsFolder } from '../../src/storage/layout.ts'
import { indexOf, ListingCache } from '../../src/storage/listing-cache.ts'
import { openLocalRegistry, type LocalStore } from '../../src/storage/registry.ts'
import { hasCode } from '../drivers/conformance.ts'
import { faultyDriver, watchedDriver, type DriverCall, type FaultyDriver } from '../support/faulty-driver.ts'
import { run, temporaryFolder } from '../support/real-parts.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { absent, manifestOf, name, openStore } from './fixture.ts'

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => prefix + String(index).padStart(6, '0'))
}

interface Long {
  readonly driver: FaultyDriver
  readonly store: LocalStore
}

/** A registry in memory with `count` repositories, one of which has `count` tags. */
async function makeLong(count: number): Promise<Long> {
  const driver = faultyDriver(inMemoryDriver())
  const link = Buffer.from(absent)
  for (const text of numbered('t', count)) await driver.write(tagCurrentPath(name, parseTag(text)), link)
  for (const text of numbered('app-', count)) {
    await driver.write(`${repositoriesRoot}/${text}/${manifestsFolder}/tags/latest/current/link`, link)
  }
  return { driver, store: openStore(driver) }
}

async function take(items: AsyncIterable<string>, count: number): Promise<string[]> {
  const taken: string[] = []
  for await (const item of items) {
    taken.push(item)
    if (taken.length === count) break
  }
  return taken
}

async function callsOf({ driver }: Long, ask: () => Promise<unknown>): Promise<readonly DriverCall[]> {
  driver.arm(0)
  await ask()
  return driver.calls
}

suite('pages of long lists', () => {
  test('P7: a folder whose names are too many to be remembered is read once a page', async () => {
    const names = Array.from({ length: 250_000 }, (_, index) => String(index).padStart(100, '0'))
    let reads = 0
    const driver = inMemoryDriver()
    driver.list = async () => {
      reads++
      return names
    }
    driver.stat = async () => ({ kind: 'directory', size: 0, modified: new Date(1e9), version: 'same' })
    const cache = new ListingCache(driver)
    await cache.list('/f')
    reads = 0
    for (let page = 0; page < 3; page++) assert.equal((await cache.list('/f')).length, names.length)
    assert.equal(reads, 3)
  })

  const pageSize = 50

  test('P7: a page of tags costs the same among a thousand and among five thousand', async () => {
    const costs: number[] = []
    for (const count of [1000, 5000]) {
      const long = await makeLong(count)
      const { tags } = long.store.repository(name)
      const all = numbered('t', count)
      const first = await callsOf(long, async () => {
        assert.deepEqual(await take(tags.list(), pageSize), all.slice(0, pageSize))
      })
      assert.equal(first.filter(({ method }) => method === 'list').length, 1)
      for (const at of [pageSize, count / 2, count - pageSize]) {
        const calls = await callsOf(long, async () => {
          const page = await take(tags.list({ after: all[at - 1] }), pageSize)
          assert.deepEqual(page, all.slice(at, at + pageSize))
        })
        assert.deepEqual(
          calls.filter(({ method }) => method !== 'stat'),
          [],
        )
        costs.push(calls.length)
      }
    }
    assert.ok(Math.max(...costs) <= pageSize + 33, costs.join(' '))
  })

  test('P7: a page of repositories costs the same among a thousand and among five thousand', async () => {
    const costs: number[] = []
    for (const count of [1000, 5000]) {
      const long = await makeLong(count)
      const all = numbered('app-', count)
      await callsOf(long, async () => {
        assert.deepEqual(await take(long.store.list(), pageSize), all.slice(0, pageSize))
      })
      for (const at of [pageSize, count / 2, count - pageSize]) {
        const calls = await callsOf(long, async () => {
          const page = await take(long.store.list({ after: all[at - 1] }), pageSize)
          assert.deepEqual(page, all.slice(at, at + pageSize))
        })
        assert.ok(!calls.some(({ method, path }) => method === 'list' && path === repositoriesRoot))
        costs.push(calls.length)
      }
    }
    assert.ok(Math.max(...costs) <= pageSize + 3, costs.join(' '))
  })

  test('P7: a folder of many repositories is read once, wherever it lies', async () => {
    const driver = faultyDriver(inMemoryDriver())
    const all = numbered('up/app/r', 1000)
    const link = Buffer.from(absent)
    for (const text of all)
      await driver.write(`${repositoriesRoot}/${text}/${manifestsFolder}/tags/v1/current/link`, link)
    const store = openStore(driver)
    driver.arm(0)
    for (const at of [0, 10, 501])
      assert.deepEqual(await take(store.list({ after: all[at - 1] }), 5), all.slice(at, at + 5))
    const calls = driver.calls.filter(({ path }) => path === `${repositoriesRoot}/up/app`)
    assert.equal(calls.filter(({ method }) => method === 'list').length, 1)
    assert.ok(!driver.calls.some(({ method, path }) => method === 'stat' && path.includes('/app/')))
  })

  test('a folder of few tags is read each time', async () => {
    const { driver, store } = await makeLong(3)
    const { tags } = store.repository(name)
    for (const more of ['u', 'v']) {
      driver.arm(0)
      assert.equal((await take(tags.list(), 99)).length, more === 'u' ? 3 : 4)
      assert.equal(driver.calls.filter(({ method }) => method === 'list').length, 1)
      await tags.put(parseTag(more), absent)
    }
  })

  test('many who ask for a page of a folder that nobody has read yet read it together', async () => {
    const long = await makeLong(1000)
    const { tags } = long.store.repository(name)
    const calls = await callsOf(long, async () => {
      await Promise.all(Array.from({ length: 20 }, async () => await take(tags.list(), 1)))
    })
    const reads = calls.filter(({ method, path }) => method === 'list' && path === tagsFolder(name))
    assert.equal(reads.length, 1)
  })

  test('what comes or goes between two pages shows at once', async () => {
    const { store } = await makeLong(1000)
    const { tags } = store.repository(name)
    const next = async (): Promise<string[]> => await take(tags.list({ after: 't000009' }), 2)
    assert.deepEqual(await next(), ['t000010', 't000011'])
    await tags.put(parseTag('t000009-new'), absent)
    assert.deepEqual(await next(), ['t000009-new', 't000010'])
    await tags.delete(parseTag('t000010'))
    assert.deepEqual(await next(), ['t000009-new', 't000011'])
    const nextName = async (): Promise<string[]> => await take(store.list({ after: 'app-000009' }), 1)
    assert.deepEqual(await nextName(), ['app-000010'])
    await store.repository(parseRepositoryName('app-000009-new')).manifests.put(manifestOf('a'))
    assert.deepEqual(await nextName(), ['app-000009-new'])
    await store.repository(parseRepositoryName('app-000009/below')).manifests.put(manifestOf('a'))
    assert.deepEqual(await nextName(), ['app-000009/below'])
  })

  test('what another process writes or removes shows by the version of the folder', async () => {
    const { driver, store } = await makeLong(1000)
    const { tags } = store.repository(name)
    const others = openStore(driver)
    const next = async (): Promise<string[]> => await take(tags.list({ after: 't000009' }), 1)
    assert.deepEqual(await next(), ['t000010'])
    await others.repository(name).tags.put(parseTag('t000009-new'), absent)
    assert.deepEqual(await next(), ['t000009-new'])
    await others.repository(name).tags.delete(parseTag('t000009-new'))
    assert.deepEqual(await next(), ['t000010'])
  })

  test('half a tag, and what is no tag, is no entry of a page', async () => {
    const { driver, store } = await makeLong(300)
    const { tags } = store.repository(name)
    assert.deepEqual(await take(tags.list(), 1), ['t000000'])
    await driver.remove(tagCurrentPath(name, parseTag('t000001'))) // no change of the folder of tags
    await driver.write(`${tagsFolder(name)}/-no-tag/current/link`, Buffer.from(absent))
    assert.deepEqual(await take(tags.list(), 2), ['t000000', 't000002'])
  })
})

suite('the folders that are remembered', () => {
  async function makeFolder(count: number): Promise<FaultyDriver> {
    const driver = faultyDriver(inMemoryDriver())
    for (const text of numbered('f', count)) await driver.write(`/folder/${text}`, Buffer.alloc(0))
    return driver
  }

  async function listCalls(driver: FaultyDriver, cache: StorageDriver): Promise<number> {
    driver.arm(0)
    await cache.list('/folder')
    return driver.calls.filter(({ method }) => method === 'list').length
  }

  test('a small one is read each time, and not asked for its version', async () => {
    const driver = await makeFolder(10)
    const cache = new ListingCache(driver)
    await cache.list('/folder')
    driver.arm(0)
    await cache.list('/folder')
    assert.deepEqual(driver.calls, [{ method: 'list', path: '/folder' }])
  })

  test('one that changed a moment ago is not: its next change might have the same time', async () => {
    mock.timers.enable({ apis: ['Date'], now: 20 }) // folders in memory are as old as the epoch
    try {
      const driver = await makeFolder(1000)
      const cache = new ListingCache(driver)
      await cache.list('/folder')
      assert.equal(await listCalls(driver, cache), 1)
      assert.equal(await listCalls(driver, cache), 1)
      mock.timers.setTime(10_000)
      assert.equal(await listCalls(driver, cache), 1)
      assert.equal(await listCalls(driver, cache), 0)
    } finally {
      mock.timers.reset()
    }
  })

  test('a write that overtakes a reading makes it count for nobody else', async () => {
    const driver = await makeFolder(1000)
    const cache = new ListingCache(driver)
    await cache.list('/folder')
    await driver.write('/folder/g', Buffer.alloc(0)) // another process: the next reading is a new one
    const reading = cache.list('/folder')
    await cache.write('/folder/h', Buffer.alloc(0))
    await reading
    assert.equal((await cache.list('/folder')).at(-1), 'h')
  })

  test('one that is gone is not found, whatever is remembered of it', async () => {
    const driver = await makeFolder(1000)
    const cache = new ListingCache(driver)
    await cache.list('/folder')
    await driver.remove('/folder')
    await assert.rejects(cache.list('/folder'), { name: 'PathNotFoundError' })
    await driver.write('/folder/one', Buffer.alloc(0))
    assert.deepEqual(await cache.list('/folder'), ['one'])
  })

  test('a failure to read one is not remembered', async () => {
    const driver = await makeFolder(1000)
    const cache = new ListingCache(driver)
    driver.arm(1)
    await assert.rejects(cache.list('/folder'), { name: 'DriverError' })
    driver.arm(0)
    await cache.list('/folder')
    for (const nth of [1, 2]) {
      driver.arm(nth) // its version, and what is in it
      await assert.rejects(cache.list('/folder'), { name: 'DriverError' })
    }
    driver.arm(0)
    assert.equal((await cache.list('/folder')).length, 1000)
  })

  test('on a file system, a change by anyone is seen, also one within the same tick', async () => {
    await using folder = await temporaryFolder()
    const place = join(folder.path, 'folder')
    await mkdir(place)
    for (const text of numbered('f', 300)) await writeFile(join(place, text), '')
    const cache = new ListingCache(filesystemDriver({ rootDirectory: folder.path }))
    for (let count = 300; count < 320; count++) {
      assert.equal((await cache.list('/folder')).length, count)
      await writeFile(join(place, `g${count}`), '')
      assert.equal((await cache.list('/folder')).length, count + 1)
    }
    await utimes(place, 1000.5, 1000.5) // long settled
    assert.equal((await cache.list('/folder')).length, 320)
    await writeFile(join(place, 'h'), '')
    assert.equal((await cache.list('/folder')).length, 321)
  })
})

test('a name is found among sorted ones, or where it would be', () => {
  const names = ['a', 'c', 'e']
  const cases: readonly (readonly [string, number])[] = [
    ['', 0],
    ['a', 0],
    ['b', 1],
    ['c', 1],
    ['e', 2],
    ['f', 3],
  ]
  for (const [text, index] of cases) assert.equal(indexOf(names, text), index, text)
  assert.equal(indexOf([], 'a'), 0)
})

suite('what else lies among the repositories', () => {
  interface Tree extends AsyncDisposable {
    readonly driver: StorageDriver
    /** Where a path of the driver is. */
    readonly place: (path: string) => string
    readonly names: () => Promise<string[]>
    /** The repositories that the survey finds. */
    readonly surveyed: () => Promise<string[]>
  }

  /** A folder with the repositories `a` and `z`. */
  async function makeTree(): Promise<Tree> {
    const folder = await temporaryFolder()
    const driver = filesystemDriver({ rootDirectory: folder.path })
    const store = openStore(driver)
    for (const text of ['a', 'z']) await store.repository(parseRepositoryName(text)).manifests.put(manifestOf(text))
    return {
      driver,
      place: (path) => join(folder.path, path),
      names: async () => await take(store.list(), 99),
      async surveyed() {
        const found = new Set<string>()
        for await (const fact of store.survey({ signal: new AbortController().signal })) {
          if (fact.kind === 'linked') found.add(fact.repository)
        }
        return [...found]
      },
      [Symbol.asyncDispose]: async () => await folder[Symbol.asyncDispose](),
    }
  }

  test('a link that leads nowhere, or to itself, or to a file, and a FIFO are no repositories', async () => {
    await using tree = await makeTree()
    const place = (text: string): string => tree.place(`${repositoriesRoot}/${text}`)
    await writeFile(tree.place('file'), 'x')
    await symlink('/nope', place('dangling'))
    await symlink('loop', place('loop'))
    await symlink(tree.place('file'), place('to-file'))
    await run('mkfifo', [place('fifo')])
    assert.deepEqual(await tree.names(), ['a', 'z'])
  })

  test('a linked folder is one of repositories, however large it is', async () => {
    await using tree = await makeTree()
    const linked = `${repositoriesRoot}/m`
    await mkdir(tree.place('elsewhere'))
    await symlink(tree.place('elsewhere'), tree.place(linked))
    const inside = numbered('r', 300).map((text) => `m/${text}`)
    for (const text of inside)
      await mkdir(tree.place(`${repositoriesRoot}/${text}/${manifestsFolder}`), { recursive: true })
    for (let page = 0; page < 3; page++) assert.deepEqual(await tree.names(), ['a', ...inside].slice(0, 99))
    await tree.driver.write(linkPath(parseRepositoryName('m/r000007'), 'manifests', absent), Buffer.from(absent))
    assert.deepEqual(await tree.surveyed(), ['a', 'm/r000007', 'z'])
  })

  test('P7: links that lead in a circle are followed no further than to where they began', async () => {
    await using tree = await makeTree()
    const place = (text: string): string => tree.place(`${repositoriesRoot}/${text}`)
    await mkdir(tree.place('elsewhere'))
    await symlink(tree.place('elsewhere'), place('m'))
    await symlink('..', place('a/up'))
    await symlink('.', place('a/self'))
    await symlink(place('z'), place('a/z'))
    await symlink('../a', place('z/a'))
    await symlink(tree.place(repositoriesRoot), place('m/back'))
    await tree.driver.write(linkPath(parseRepositoryName('m/in'), 'manifests', absent), Buffer.from(absent))
    const all = ['a', 'a/z', 'm/in', 'z', 'z/a']
    assert.deepEqual(await tree.names(), all)
    assert.deepEqual(await tree.surveyed(), all)
  })

  test('the survey passes over what can be no repository, not what may be a part that is not mounted', async () => {
    await using tree = await makeTree()
    await symlink('loop', tree.place(`${repositoriesRoot}/loop`))
    assert.deepEqual(await tree.surveyed(), ['a', 'z'])
    await symlink('/nope', tree.place(`${repositoriesRoot}/dangling`))
    await assert.rejects(tree.surveyed(), PathNotFoundError)
  })

  test('a folder that may not be read hides no other repository, and each is told once an hour, of some', async () => {
    await using tree = await makeTree()
    const closed = ['m', ...numbered('n', 30)]
    for (const text of ['m/in', ...closed]) {
      await tree.driver.write(linkPath(parseRepositoryName(text), 'manifests', absent), Buffer.from(absent))
    }
    let now = 0
    const log = recordingLogger()
    const denied = closed.map((text) => `${repositoriesRoot}/${text}`)
    const driver = watchedDriver(tree.driver, ({ method, path }) => {
      if (method === 'list' && denied.includes(path)) throw new DriverError('EACCES', `EACCES at ${path}`)
    })
    const descriptors = descriptorCache(openFactStore({ kind: 'none' }, log.logger))
    const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger: log.logger, now: () => now })
    for (const after of [undefined, 'a', 'm', 'm/in']) {
      assert.deepEqual(await take(store.list({ after }), 99), after === undefined ? ['a', 'z'] : ['z'], after)
    }
    const told = (): unknown[] => log.lines.filter(({ level }) => level === 'warn').map(({ path }) => path)
    const some = denied.slice(0, 20)
    assert.deepEqual(told(), some)
    now += 3_600_000
    await take(store.list(), 99)
    assert.deepEqual(told(), [...some, ...some])
  })

  test('where no repository may be read, the list of them fails', async () => {
    await using tree = await makeTree()
    const driver = watchedDriver(tree.driver, ({ method, path }) => {
      if (method === 'list' && path === repositoriesRoot) throw new DriverError('EACCES', `EACCES at ${path}`)
    })
    await assert.rejects(take(openStore(driver).list(), 99), hasCode('EACCES'))
  })

  test('repositories that are not what they should be, or fail, are not passed over', async () => {
    await using tree = await makeTree()
    const fails = watchedDriver(tree.driver, ({ path }) => {
      if (path === `${repositoriesRoot}/z`) throw new DriverError('EIO', 'a broken disk')
    })
    await assert.rejects(take(openStore(fails).list(), 99), hasCode('EIO'))
    await rm(tree.place(repositoriesRoot), { recursive: true })
    await symlink('repositories', tree.place(repositoriesRoot))
    await assert.rejects(tree.names(), hasCode('ENOTFILE'))
    await assert.rejects(tree.surveyed(), hasCode('ENOTFILE'))
  })
})
