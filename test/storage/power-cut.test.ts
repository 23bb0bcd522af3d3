// T-35: the power goes at any moment of a push, a fill, a tagging, a deletion. What was answered before is still there, what
// was under way is there whole or not at all, and nothing that is there is wrong, whatever the disk had not synced yet.
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { ifPresent, RegistryError } from '../../src/oci/error.ts'
import type { UploadId } from '../../src/registry/store.ts'
import { blobPath, linkPath, tagCurrentPath } from '../../src/storage/layout.ts'
import { openLocalRegistry, type LocalStore } from '../../src/storage/registry.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { pattern } from '../drivers/conformance.ts'
import { temporaryFolder } from '../support/real-parts.ts'
import { recordDisk, restore, type RecordedDisk, type Remains } from '../support/recorded-disk.ts'
import { recordingLogger } from '../support/recording-logger.ts'
import { seeded } from '../support/seeded.ts'
import { replaceSync } from '../support/system-calls.ts'
import { chunksOf, latest, manifestOf, name } from './fixture.ts'

const filled = pattern(70_000)
const pushed = pattern(30_000)
const doubly = pattern(5_000)
const small = Buffer.from('small')
const unfinished = pattern(20_000)
const blobs: ReadonlyMap<Digest, Buffer> = new Map([
  [digestOf(filled), filled],
  [digestOf(pushed), pushed],
  [digestOf(doubly, 'sha512'), doubly],
  [digestOf(small), small],
  [digestOf(unfinished), unfinished],
])
const manifests: ReadonlyMap<Digest, Buffer> = new Map(
  [manifestOf('one'), manifestOf('two')].map((bytes) => [digestOf(bytes), bytes]),
)
const [one = digestOf('')] = manifests.keys()

/** What can be seen of a store: `blob <digest>`, `manifest <digest>` → here; `tag` → what it points at. */
type Sight = ReadonlyMap<string, string>

/** Says what a step makes true, and does it. */
type Doing = (makes: Readonly<Record<string, string>>, step: () => Promise<unknown>) => Promise<void>

/** A life of a store. Every step may be done again, on whatever an earlier life has left. */
async function live(store: LocalStore, does: Doing, begun: UploadId[]): Promise<void> {
  const repository = store.repository(name)
  const content = store.content
  await does({}, async () => {
    await using upload = await content.receive({ digest: digestOf(filled) })
    if (upload.size === 0) await upload.append(chunksOf(filled.subarray(0, 40_000), 10_000))
    await upload.close() // as a fill that has failed
  })
  await does({ [`content ${digestOf(filled)}`]: 'here' }, async () => {
    const complete = async (isFresh: boolean): Promise<void> => {
      await using upload = await content.receive({ digest: digestOf(filled), isFresh })
      await upload.append(chunksOf(filled.subarray(upload.size), 10_000))
      await upload.commit(digestOf(filled))
    }
    await complete(false).catch(async () => await complete(true)) // what the last life has left proved to be nothing
  })
  await does({ [`blob ${digestOf(filled)}`]: 'here' }, async () => await repository.blobs.link(digestOf(filled)))
  await does({ [`blob ${digestOf(pushed)}`]: 'here', [`content ${digestOf(pushed)}`]: 'here' }, async () => {
    const begin = await repository.uploads.create()
    await begin.append(chunksOf(pushed.subarray(0, 12_000), 4_000))
    await begin.close()
    await using upload = await repository.uploads.resume(begin.id)
    await upload.append(chunksOf(pushed.subarray(12_000), 4_000))
    await upload.commit(digestOf(pushed))
  })
  await does({ [`blob ${digestOf(doubly, 'sha512')}`]: 'here', [`content ${digestOf(doubly)}`]: 'here' }, async () => {
    await using upload = await repository.uploads.create()
    await upload.append(chunksOf(doubly, 5_000))
    await upload.commit(digestOf(doubly, 'sha512'))
  })
  await does({ [`blob ${digestOf(small)}`]: 'here' }, async () => await repository.blobs.put(small))
  for (const [digest, bytes] of manifests) {
    await does({ [`manifest ${digest}`]: 'here' }, async () => await repository.manifests.put(bytes))
    await does({ tag: digest }, async () => await repository.tags.put(latest, digest))
  }
  await does({}, async () => {
    const upload = await repository.uploads.create()
    begun.push(upload.id)
    await upload.append(chunksOf(unfinished.subarray(0, 9_000), 3_000))
    await upload.close()
  })
  await does({ tag: 'gone' }, async () => await repository.tags.delete(latest))
  await does({ [`manifest ${one}`]: 'gone' }, async () => await repository.manifests.delete(one))
  await does({ [`blob ${digestOf(small)}`]: 'gone' }, async () => await repository.blobs.delete(digestOf(small)))
}

function openAt(root: string, verify: 'never' | 'first', log = silentLogger): LocalStore {
  const descriptors = descriptorCache(openFactStore({ kind: 'none' }, log))
  const driver = filesystemDriver({ rootDirectory: root })
  return openLocalRegistry({ driver, descriptors, deleteEnabled: true, verify, logger: log })
}

/** Reads all that can be seen, and whether it is right: the store itself is told to prove nothing. */
async function look(store: LocalStore): Promise<Sight> {
  const { blobs: linked, manifests: documents, tags } = store.repository(name)
  const seen = new Map<string, string>()
  for (const [digest, bytes] of [...blobs, [digestOf(doubly), doubly] as const]) {
    for (const [what, source] of [
      ['content', store.content],
      ['blob', linked],
    ] as const) {
      const open = await ifPresent(source.open(digest))
      if (open === undefined) continue
      const isRight = bytes.equals(await collect(open.body, bytes.byteLength + 1))
      seen.set(`${what} ${digest}`, isRight ? 'here' : 'WRONG')
    }
  }
  for (const [digest, bytes] of manifests) {
    const found = await ifPresent(documents.get(digest))
    if (found !== undefined) seen.set(`manifest ${digest}`, bytes.equals(found.bytes) ? 'here' : 'WRONG')
  }
  const tagged = await tags.find(latest)
  if (tagged !== undefined) seen.set('tag', tagged)
  return seen
}

interface Deed {
  readonly makes: Readonly<Record<string, string>>
  /** Steps of the disk before it, and when it was answered. */
  readonly from: number
  readonly to: number
}

/** What may be seen of something where the power goes after so many steps. */
function allowed(what: string, deeds: readonly Deed[], steps: number): readonly string[] {
  let may = ['gone']
  for (const { makes, from, to } of deeds) {
    const value = makes[what]
    if (value === undefined || from >= steps) continue
    may = to <= steps ? [value] : [...may, value]
  }
  return may
}

async function assertKept(remains: Remains, deeds: readonly Deed[], steps: number): Promise<void> {
  await using folder = await temporaryFolder()
  await restore(remains, folder.path)
  const log = recordingLogger()
  const store = openAt(folder.path, 'never', log.logger)
  const seen = await look(store)
  for (const [what, value] of seen) assert.notEqual(value, 'WRONG', what)
  for (const what of everything(deeds)) {
    const value = seen.get(what) ?? 'gone'
    const may = allowed(what, deeds, steps)
    assert.ok(may.includes(value), `${what}: ${value}, where it may be ${may.join(' or ')}`)
  }
  const tagged = seen.get('tag')
  if (tagged !== undefined) assert.equal(seen.get(`manifest ${tagged}`), 'here', 'a tag of nothing')
  assert.deepEqual(log.lines, []) // no link is damaged, no linked blob missing
}

/** What another process makes of it: all is as if nothing had happened, in the end. */
async function assertHealed(remains: Remains, deeds: readonly Deed[], begun: readonly UploadId[]): Promise<void> {
  await using folder = await temporaryFolder()
  await restore(remains, folder.path)
  const store = openAt(folder.path, 'first')
  for (const id of begun) await goOn(store, id)
  await live(store, async (_, step) => void (await step()), [])
  const seen = await look(openAt(folder.path, 'never'))
  for (const what of everything(deeds)) {
    assert.equal(seen.get(what) ?? 'gone', allowed(what, deeds, Infinity).at(-1), `${what}, after another life`)
  }
}

function everything(deeds: readonly Deed[]): ReadonlySet<string> {
  return new Set(deeds.flatMap(({ makes }) => Object.keys(makes)))
}

/** An upload that was not finished goes on where it says it is, or is unknown; its digest finds out about lost bytes. */
async function goOn(store: LocalStore, id: UploadId): Promise<void> {
  const repository = store.repository(name)
  try {
    await using upload = await repository.uploads.resume(id)
    assert.ok(upload.size <= 9_000)
    await upload.append(chunksOf(unfinished.subarray(upload.size), 3_000))
    await upload.commit(digestOf(unfinished))
  } catch (error) {
    assert.ok(
      error instanceof RegistryError && ['BLOB_UPLOAD_UNKNOWN', 'DIGEST_INVALID'].includes(error.code),
      String(error),
    )
  }
  const open = await ifPresent(repository.blobs.open(digestOf(unfinished)))
  if (open !== undefined) assert.ok(unfinished.equals(await collect(open.body, unfinished.byteLength + 1)))
}

/** Of what remains, in words: many a cut leaves the same. */
function fingerprint(remains: Remains): string {
  return [...remains].map(([path, bytes]) => `${path} ${bytes === undefined ? '/' : digestOf(bytes)}`).join('\n')
}

const seeds = [undefined, 1, 2, 3, 4]

suite('T-35: the power goes', () => {
  test('T-35, P2, P9: at any step: what was answered stays, all else is there whole or not at all', async (context) => {
    await using folder = await temporaryFolder()
    const root = join(folder.path, 'root')
    await mkdir(root)
    const deeds: Deed[] = []
    const begun: UploadId[] = []
    using disk = recordDisk(root)
    await live(
      openAt(root, 'first'),
      async (makes, step) => {
        const from = disk.steps
        await step()
        deeds.push({ makes, from, to: disk.steps })
      },
      begun,
    )
    disk[Symbol.dispose]()

    using _ = replaceSync((_fd, done) => setImmediate(done, null))
    const known = new Set<string>()
    for (let steps = 0; steps <= disk.steps; steps++) {
      for (const seed of seeds) {
        const remains = disk.after(steps, seed === undefined ? undefined : seeded(seed * 1000 + steps))
        const answered = deeds.filter(({ to }) => to <= steps).length
        const print = `${answered} ${fingerprint(remains)}`
        if (known.has(print)) continue
        known.add(print)
        try {
          await assertKept(remains, deeds, steps)
          if (known.size % 8 === 0) await assertHealed(remains, deeds, begun) // for all of them it would take a minute
        } catch (cause) {
          throw new Error(`cut after step ${steps}, seed ${seed}:\n${disk.describe(steps)}`, { cause })
        }
      }
    }
    context.diagnostic(`${disk.steps} steps, ${known.size} different ends`)
    assert.ok(known.size > disk.steps)
  })

  test('P2, P9: killed before a name was synced, and cut off after the next process had answered: that stays', async (context) => {
    const renames: number[] = []
    {
      await using recorded = await startRecorded()
      await live(recorded.store(), async (_, step) => void (await step()), [])
      const lines = recorded.disk.describe(recorded.disk.steps).split('\n')
      lines.forEach((line, index) => line.startsWith('rename') && renames.push(index + 1))
    }
    for (const steps of renames) {
      await using recorded = await startRecorded()
      const { disk, store } = recorded
      disk.stopAfter(steps)
      await assert.rejects(live(store(), async (_, step) => void (await step()), []))
      disk.stopAfter(Infinity)
      const next = store()
      await live(
        next,
        async (makes, step) => {
          await step()
          const remains = disk.after(disk.steps)
          for (const [what, value] of Object.entries(makes)) {
            assert.equal(
              sightOf(remains, what),
              value,
              `${what}, killed after step ${steps}:\n${disk.describe(disk.steps)}`,
            )
          }
        },
        [],
      )
    }
    context.diagnostic(`${renames.length} kills`)
    assert.ok(renames.length > 10)
  })
})

interface Recorded extends AsyncDisposable {
  readonly disk: RecordedDisk
  /** What a process sees that starts now. */
  readonly store: () => LocalStore
}

async function startRecorded(): Promise<Recorded> {
  const folder = await temporaryFolder()
  const root = join(folder.path, 'root')
  await mkdir(root)
  const disk = recordDisk(root)
  const dispose = async (): Promise<void> => {
    disk[Symbol.dispose]()
    await folder[Symbol.asyncDispose]()
  }
  return { disk, store: () => openAt(root, 'first'), [Symbol.asyncDispose]: dispose }
}

/** As `look`, by the files alone. */
function sightOf(remains: Remains, what: string): string {
  const [kind, text] = what.split(' ')
  if (kind === 'tag') return remains.get(tagCurrentPath(name, latest))?.toString() ?? 'gone'
  const digest =
    [...blobs.keys(), ...manifests.keys(), digestOf(doubly)].find((known) => known === text) ?? digestOf('')
  const target = digest === digestOf(doubly, 'sha512') ? digestOf(doubly) : digest
  const link = kind === 'content' ? undefined : linkPath(name, kind === 'blob' ? 'blobs' : 'manifests', digest)
  if (link !== undefined && remains.get(link)?.toString() !== target) return 'gone'
  const bytes = remains.get(blobPath(target))
  return bytes !== undefined && digestOf(bytes) === target ? 'here' : 'gone'
}
