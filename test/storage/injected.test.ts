// T-31, T-33, T-34: every system call of fill, link, tag and delete fails once, and kills the process once. Whatever is
// there afterwards is right, and the next process gets everything right.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import pLimit from 'p-limit'
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { ifPresent } from '../../src/oci/error.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { image } from '../support/canned-upstream.ts'
import { pullAndDelete } from '../support/pull-and-delete.ts'
import { run, startProcess, temporaryFolder, without, type Folder } from '../support/real-parts.ts'

const program = join(import.meta.dirname, '../support/pull-and-delete.ts')

/** The calls that change what is on disk, as groups of the names that one thing may have. */
const calls: readonly (readonly [names: string, error: string])[] = [
  ['pwrite64,pwritev', 'ENOSPC'],
  ['fsync', 'EIO'],
  ['?rename,?renameat,?renameat2', 'ENOSPC'],
  ['?mkdir,?mkdirat', 'ENOSPC'],
  ['?unlink,?unlinkat,?rmdir', 'EIO'],
]

interface Outcome {
  /** What the program said. */
  readonly steps: readonly string[]
  /** Whether what was to happen to it did. */
  readonly isHit: boolean
}

/** Runs the program in a folder, with something that strace is to do to it at one of the calls. */
async function runIn(folder: Folder, names: string, fault: string): Promise<Outcome> {
  const trace = join(folder.path, 'trace')
  const strace = ['-f', '-qq', '-o', trace, '-e', `trace=${names}`, '-e', `inject=${names}:${fault}`]
  // With one thread, the nth call of a kind is the nth of them all.
  const options = { env: { UV_THREADPOOL_SIZE: '1' } }
  await using running = await startProcess('strace', [...strace, process.execPath, program, rootOf(folder)], options)
  await running.ended()
  const steps = running.stdout().trim().split('\n')
  return { steps, isHit: /INJECTED|killed by SIGKILL/.test(await readFile(trace, 'utf8')) }
}

/** Runs it once more, as another process would: nothing of the first one is remembered. */
async function runAgain(folder: Folder): Promise<readonly string[]> {
  const steps: string[] = []
  await pullAndDelete(rootOf(folder), (line) => steps.push(line))
  return steps
}

function rootOf(folder: Folder): string {
  return join(folder.path, 'root')
}

/** What a process finds that starts on the folder: each thing right, or not at all. */
async function assertRight(folder: Folder, what: string): Promise<void> {
  const root = rootOf(folder)
  const descriptors = descriptorCache(openFactStore({ kind: 'none' }, silentLogger))
  const driver = filesystemDriver({ rootDirectory: root })
  const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger: silentLogger })
  const { tags, manifests, blobs } = store.repository(image.name)
  const tagged = await tags.find(image.tag)
  assert.ok(tagged === undefined || tagged === image.manifest.digest, what)
  const manifest = await ifPresent(manifests.get(image.manifest.digest))
  assert.ok(manifest === undefined || digestOf(manifest.bytes) === image.manifest.digest, what)
  if (tagged !== undefined) assert.ok(manifest !== undefined, `${what}: a tag of nothing`)
  for (const { digest, bytes } of image.blobs) {
    const open = await ifPresent(blobs.open(digest))
    if (open === undefined) continue
    assert.equal(digestOf(await collect(open.body, bytes.byteLength)), digest, what)
  }
  // The next process sweeps what the dead one left, but for what it can go on with.
  await store.sweepTemporary({ age: -60_000 })
  assert.deepEqual(await readdir(join(root, 'entrepot/fills')).catch(() => []), [], what)
}

async function isTraceable(context: TestContext): Promise<boolean> {
  try {
    await run('strace', ['-f', '-o', '/dev/null', 'true'])
    return true
  } catch {
    context.skip('nothing can be traced here')
    return false
  }
}

/** Does it for the first call, the second, and so on until there is none left; two at a time. */
async function forEachCall(task: (nth: number) => Promise<boolean>): Promise<number> {
  const limit = pLimit(2)
  for (let first = 1; ; first += 4) {
    const some = [first, first + 1, first + 2, first + 3]
    const found = await Promise.all(some.map(async (nth) => await limit(async () => await task(nth))))
    if (!found.every(Boolean)) return first + found.indexOf(false) - 1
  }
}

const everything = ['right tag', 'right manifest', ...image.blobs.map(({ digest }) => `right ${digest}`)]

suite('system calls that fail or kill (P2, P9)', { skip: without('strace') }, () => {
  for (const [names, error] of calls) {
    test(`T-34: killed at any ${names}: each object is absent or right, and the next pull is whole`, async (context) => {
      if (!(await isTraceable(context))) return
      const kills = await forEachCall(async (nth) => {
        await using folder = await temporaryFolder()
        const what = `killed at ${names} ${nth}`
        const { steps, isHit } = await runIn(folder, names, `signal=KILL:when=${nth}`)
        assert.ok(!steps.some((step) => step.startsWith('WRONG')), what)
        await assertRight(folder, what)
        if (!isHit) return false
        assert.deepEqual(await runAgain(folder), [...everything, 'right untag and delete', 'end'], what)
        return true
      })
      context.diagnostic(`${kills} kills`)
      assert.ok(kills >= 2, `${kills} kills`)
    })

    test(`T-31, T-33: ${error} at any ${names}: the client has right bytes, and the next pull is whole`, async (context) => {
      if (!(await isTraceable(context))) return
      const failures = await forEachCall(async (nth) => {
        await using folder = await temporaryFolder()
        const what = `${error} at ${names} ${nth}`
        const { steps, isHit } = await runIn(folder, names, `error=${error}:when=${nth}`)
        assert.deepEqual(steps.slice(0, everything.length), everything, what)
        assert.ok(steps.includes('end'), what)
        await assertRight(folder, what)
        assert.deepEqual((await runAgain(folder)).slice(0, everything.length), everything, what)
        return isHit
      })
      context.diagnostic(`${failures} failures`)
      assert.ok(failures >= 2, `${failures} failures`)
    })
  }
})
