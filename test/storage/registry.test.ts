import assert from 'node:assert/strict'
import { parseRepositoryName, type RepositoryName } from '../../src/oci/reference.ts'
import { fillPath } from '../../src/storage/layout.ts'
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

storageSuite('the sweep of temporary files', (check) => {
  check(
    'P9: what a dead process left goes once it is old, what is open here stays',
    async ({ store, driver, restart }) => {
      await driver.write('/entrepot/tmp/left', Buffer.from('1234'))
      await driver.write('/entrepot/fills/left', Buffer.from('123456'))
      await driver.write('/entrepot/damaged/left', Buffer.from('1'))
      await driver.write('/entrepot/aliases/sha512/left', Buffer.from('kept'))
      await using upload = await store.content.receive()
      await upload.append(chunksOf(Buffer.from('running'), 7))
      const future = new Date(Date.now() + 60_000)
      assert.deepEqual(await store.sweepTemporary({ olderThan: new Date(Date.now() - 60_000) }), { files: 0, bytes: 0 })
      assert.deepEqual(await store.sweepTemporary({ olderThan: future }), { files: 3, bytes: 11 })
      assert.deepEqual(await driver.list('/entrepot/fills'), [upload.id])
      assert.equal((await driver.stat(fillPath(upload.id))).size, 7)
      assert.equal((await driver.read('/entrepot/aliases/sha512/left', 10)).toString(), 'kept')
      assert.equal((await restart().sweepTemporary({ olderThan: future })).files, 1)
    },
  )

  check('there is nothing to sweep where nothing was stored', async ({ store }) => {
    assert.deepEqual(await store.sweepTemporary({ olderThan: new Date() }), { files: 0, bytes: 0 })
  })
})
