// P2, as the system sees it: what must be durable before what becomes visible.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { run, temporaryFolder, without, type Folder } from '../support/real-parts.ts'

const skip = without('strace')
const driverModule = join(import.meta.dirname, '../../src/drivers/filesystem.ts')

/** The calls that make, rename and sync, with paths below the driver's root; those of a task on `driver`. */
async function callsOf(context: TestContext, folder: Folder, task: string): Promise<string[] | undefined> {
  const traced = join(folder.path, 'trace')
  const root = join(folder.path, 'root')
  const program = `
    const { filesystemDriver } = await import(${JSON.stringify(driverModule)})
    const driver = filesystemDriver({ rootDirectory: ${JSON.stringify(root)} })
    ${task}`
  try {
    await run('strace', ['-f', '-o', '/dev/null', 'true'])
  } catch {
    context.skip('nothing can be traced here')
    return undefined
  }
  const trace = ['-f', '-y', '-z', '-e', 'trace=fsync,?mkdir,?mkdirat,?rename,?renameat,?renameat2', '-o', traced]
  await run('strace', [...trace, process.execPath, '--input-type=module', '-e', program])
  return (await readFile(traced, 'utf8'))
    .split('\n')
    .flatMap((line) => {
      const call = /\b(fsync|mkdir|rename)(?:at2?)?\((.*)\)\s+= 0/.exec(line)
      const paths = [...(call?.[2] ?? '').matchAll(/[<"]([^<>"]+)[>"]/g)]
        .map((match) => match[1] ?? '')
        .filter((path) => path.startsWith(root))
      if (call === null || paths.length === 0) return []
      return [[call[1], ...paths.map((path) => path.slice(root.length) || '/')].join(' ')]
    })
    .map((call) => call.replaceAll(/tmp\/[0-9a-z-]+\.[0-9a-f]{8}-[0-9a-f-]{27}/g, 'tmp/new'))
}

function assertOrder(calls: readonly string[], order: readonly string[]): void {
  let at = -1
  for (const call of order) {
    const next = calls.indexOf(call, at + 1)
    assert.ok(next >= 0, `no «${call}» in its place:\n${calls.join('\n')}`)
    at = next
  }
}

test(
  'P2: a file is synced, renamed, and its folder synced; so is each new folder in the one above',
  { skip },
  async (context) => {
    await using folder = await temporaryFolder()
    const calls = await callsOf(context, folder, `await driver.write('/a/b/f', Buffer.from('x'))`)
    if (calls === undefined) return
    assertOrder(calls, ['fsync /entrepot/tmp/new', 'rename /entrepot/tmp/new /a/b/f', 'fsync /a/b'])
    assertOrder(calls, ['mkdir /a', 'fsync /', 'mkdir /a/b', 'fsync /a', 'rename /entrepot/tmp/new /a/b/f'])
  },
)

test('P2: a moved file’s folder is synced after it, and each new folder before', { skip }, async (context) => {
  await using folder = await temporaryFolder()
  const task = `
    await using writer = await driver.writer('/from/f')
    await writer.write(Buffer.from('x'))
    await writer.sync()
    await driver.move('/from/f', '/to/here/f')`
  const calls = await callsOf(context, folder, task)
  if (calls === undefined) return
  assertOrder(calls, [
    'fsync /from/f',
    'mkdir /to',
    'fsync /',
    'mkdir /to/here',
    'fsync /to',
    'rename /from/f /to/here/f',
  ])
  assertOrder(calls, ['rename /from/f /to/here/f', 'fsync /to/here'])
})

test('P2: nobody’s file counts before the folder that another call has just made for it', { skip }, async (context) => {
  await using folder = await temporaryFolder()
  const task = `
    await driver.write('/warm', Buffer.from('x'))
    await Promise.all(Array.from({ length: 20 }, async (_, at) => await driver.write('/a/b/' + at, Buffer.from('x'))))
    await driver.write('/done', Buffer.from('x'))`
  const calls = await callsOf(context, folder, task)
  if (calls === undefined) return
  assert.equal(calls.filter((call) => call === 'mkdir /a/b').length, 1)
  assertOrder(calls, ['mkdir /a', 'fsync /', 'mkdir /a/b', 'fsync /a', 'rename /entrepot/tmp/new /a/b/0'])
})
