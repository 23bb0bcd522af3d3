// One round of removal by itself, at the moments when something else happens.
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Failures } from '../../src/ledger/failures.ts'
import { Ledger } from '../../src/ledger/ledger.ts'
import { Pins } from '../../src/ledger/pins.ts'
import { UsageRecorder } from '../../src/ledger/recorder.ts'
import { Removal } from '../../src/ledger/removal.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import type { EvictableStore, Fact } from '../../src/registry/usage.ts'
import { Clocks } from './fixture.ts'

const repository = parseRepositoryName('hub/app')
const manifest = digestOf('a manifest')
const tag = parseTag('v1')

interface Scene {
  readonly recorder: UsageRecorder
  readonly ledger: Ledger
  /** What was done to the store, in order. */
  readonly done: string[]
  /** Called before a blob is looked at for the last time. */
  onFree: () => void
  /** Called before a tag goes. */
  onUntag: () => void
  isResting: boolean
  readonly evict: () => Promise<void>
}

/** An image of one manifest under one tag. */
function scene(context: TestContext): Scene {
  const recorder = new UsageRecorder()
  const options = { folder: undefined, place: 'in memory', maxSize: 1, isCopy: () => true, pins: new Pins([]) } as const
  const ledger = Ledger.open({ ...options, clocks: new Clocks() })
  context.after(() => ledger[Symbol.dispose]())
  recorder.attach({ ledger, onGrowth: () => {}, onFailure: () => {} })
  const done: string[] = []
  const remove = (what: string, fact: Fact): void => {
    done.push(what)
    recorder.note(fact)
  }
  const store: EvictableStore = {
    survey: () => assert.fail('not asked for'),
    collections: async () => assert.fail('not asked for'),
    isInUse: () => false,
    discardable: (name) => ({
      blobs: { delete: async () => assert.fail('it has none') },
      manifests: {
        delete: async (digest) => remove('link', { kind: 'unlinked', repository: name, as: 'manifests', digest }),
      },
      tags: {
        delete: async () => {
          it.onUntag()
          remove('tag', { kind: 'untagged', repository: name, tag })
          return true
        },
        find: async () => undefined,
        async *pointingAt() {},
      },
    }),
    free: async (target, isNeeded) => {
      it.onFree()
      if (isNeeded()) return undefined
      remove('blob', { kind: 'removed', target })
      return 10
    },
  }
  const removal = new Removal({
    store,
    recorder,
    ledger,
    cacheLog: undefined,
    isResting: () => it.isResting,
    check: () => {},
    tallies: [],
  })
  recorder.note({ kind: 'stored', target: manifest, size: 10 })
  recorder.note({ kind: 'linked', repository, as: 'manifests', digest: manifest, target: manifest })
  recorder.note({ kind: 'tagged', repository, tag, digest: manifest })
  recorder.flush()
  const it: Scene = {
    recorder,
    ledger,
    done,
    onFree: () => {},
    onUntag: () => {},
    isResting: false,
    evict: async () => {
      let rounds = 0
      await removal.evict(Infinity, () => rounds++ === 0, new Failures())
    },
  }
  return it
}

test('an image goes backwards to how it came', async (context) => {
  const it = scene(context)
  await it.evict()
  assert.deepEqual(it.done, ['tag', 'link', 'blob'])
})

test('what is not known to be without links stays: the ledger has failed just now', async (context) => {
  const it = scene(context)
  it.onFree = () => {
    it.recorder.flush() // all links are gone, as far as the ledger knows
    const other = parseRepositoryName('hub/other')
    it.recorder.note({ kind: 'linked', repository: other, as: 'manifests', digest: manifest, target: manifest })
    context.mock.method(it.ledger, 'write', () => {
      throw new Error('disk I/O error')
    })
  }
  await it.evict()
  assert.deepEqual(it.done, ['tag', 'link'])
})

test('P3: what rests takes nothing more, whatever it was about to take', async (context) => {
  const it = scene(context)
  it.onUntag = () => (it.isResting = true)
  await it.evict()
  assert.deepEqual(it.done, ['tag'])
  const other = scene(context)
  other.onFree = () => (other.isResting = true)
  await other.evict()
  assert.deepEqual(other.done, ['tag', 'link'])
})
