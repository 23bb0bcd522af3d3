// Folders that are made with those above them, also where the system makes none.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { makeFolder, makeFolderSync } from '../../src/bytes/folder.ts'
import { checkout, temporaryFolder } from '../support/real-parts.ts'

for (const [name, make] of Object.entries({ makeFolder, makeFolderSync })) {
  test(`${name}: with those above it, which may be there, in one mode`, async () => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'there'))
    const path = join(folder.path, 'there/a/b')
    await make(path, 0o700)
    await make(path, 0o750)
    for (const made of [path, join(folder.path, 'there/a')]) assert.equal((await stat(made)).mode & 0o777, 0o700)
  })
}

test('many who make the same folder at once all find it made', async () => {
  await using folder = await temporaryFolder()
  await Promise.all(Array.from({ length: 20 }, async () => await makeFolder(join(folder.path, 'a/b/c'))))
  assert.deepEqual(await readdir(join(folder.path, 'a/b')), ['c'])
})

const users: Readonly<Record<string, string>> = {
  makeFolder: `await (await import('./src/bytes/folder.ts')).makeFolder('/proc/nope/x')`,
  makeFolderSync: `(await import('./src/bytes/folder.ts')).makeFolderSync('/proc/nope/x')`,
  'a folder that was deleted': `
    const fs = await import('node:fs')
    const folder = fs.mkdtempSync('/tmp/entrepot-')
    const place = '/proc/self/fd/' + fs.openSync(folder, 'r')
    fs.rmdirSync(folder)
    await (await import('./src/bytes/folder.ts')).makeFolder(place + '/a/b')`,
  'the filesystem driver': `
    const { filesystemDriver } = await import('./src/drivers/filesystem.ts')
    await filesystemDriver({ rootDirectory: '/proc/nope/x' }).write('/file', Buffer.from('x'))`,
  'the queue of events': `(await import('./src/events/queue.ts')).EventQueue.open('/proc/nope/x')`,
  'the ledger': `(await import('./src/ledger/database.ts')).openDatabase('/proc/nope/x', 'as it is')`,
  'the htpasswd file': `
    const { HtpasswdController } = await import('./src/auth/htpasswd.ts')
    await HtpasswdController.open({ realm: 'ours', path: '/proc/nope/x/htpasswd' })`,
}

suite('where the system makes no folder', { skip: process.platform !== 'linux' && 'only Linux has /proc' }, () => {
  for (const [user, code] of Object.entries(users)) {
    test(`${user}: it fails at once`, () => {
      const script = `try { ${code} } catch (error) { process.stdout.write(error.code ?? error.cause.code) }`
      // In a process of its own: a call that does not return would keep this one from ending.
      const options = { cwd: checkout, timeout: 20_000, killSignal: 'SIGKILL', encoding: 'utf8' } as const
      const ran = spawnSync(process.execPath, ['--input-type=module', '--eval', script], options)
      assert.deepEqual([ran.signal, ran.stdout], [null, 'ENOENT'], ran.stderr)
    })
  }
})
