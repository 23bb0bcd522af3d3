// What the ledger answers, and what its answers cost.
import assert from 'node:assert/strict'
import { StatementSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import { openDatabase } from '../../src/ledger/database.ts'
import { Ledger } from '../../src/ledger/ledger.ts'
import { Pins } from '../../src/ledger/pins.ts'
import { Statements } from '../../src/ledger/statements.ts'
import type { Unit } from '../../src/ledger/units.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag } from '../../src/oci/reference.ts'
import type { Fact } from '../../src/registry/usage.ts'
import { Clocks } from './fixture.ts'

const hub = parseRepositoryName('hub/app')

function open(clocks: Clocks, pins: readonly string[] = []): Ledger {
  const { wall, monotonic } = clocks
  return Ledger.open({
    folder: undefined,
    place: 'in memory',
    maxSize: 1000,
    isCopy: (name) => name.startsWith('hub/'),
    pins: new Pins(pins),
    clocks: { wall, monotonic },
  })
}

function tell(ledger: Ledger, ...facts: readonly Fact[]): void {
  ledger.write(
    facts.map((fact) => ({ fact, at: ledger.now() })),
    [],
  )
}

function stored(text: string, size = 100): Fact {
  return { kind: 'stored', target: digestOf(text), size }
}

function linked(text: string, as: 'blobs' | 'manifests' = 'blobs', digest: Digest = digestOf(text)): Fact {
  return { kind: 'linked', repository: hub, as, digest, target: digestOf(text) }
}

function named(text: string, ...names: readonly Digest[]): Fact {
  return { kind: 'named', repository: hub, target: digestOf(text), names, subject: undefined }
}

function nextUnit(ledger: Ledger): Unit | undefined {
  const end = ledger.now()
  let unit = ledger.pick(end)
  while (unit === 'again') unit = ledger.pick(end)
  return unit
}

/** The next unit's targets. */
function next(ledger: Ledger): Digest[] | undefined {
  return nextUnit(ledger)?.targets.toSorted()
}

suite('the ledger', () => {
  test('every question is answered by an index: what one eviction costs does not grow with the store', () => {
    const { database } = openDatabase(undefined, 'in memory')
    for (const [name, statement] of Object.entries(new Statements(database)) as [string, Statements['clock']][]) {
      const plan = database.prepare(`EXPLAIN QUERY PLAN ${statement.sourceSQL}`).all()
      for (const { detail } of plan) {
        assert.ok(name === 'clock' || !/^SCAN|TEMP B-TREE/.test(String(detail)), `${name}: ${String(detail)}`)
      }
    }
    database.close()
  })

  test('each blob counts once, however many link it', () => {
    using ledger = open(new Clocks())
    tell(ledger, stored('a'), stored('a'), linked('a'), stored('b', 50))
    assert.deepEqual([ledger.size, ledger.blobs], [150, 2])
    assert.equal(ledger.isFull(850), false)
    assert.equal(ledger.isFull(851), true)
    tell(ledger, { kind: 'removed', target: digestOf('a') }, { kind: 'removed', target: digestOf('a') })
    assert.deepEqual([ledger.size, ledger.blobs], [50, 1])
  })

  test('a layer that is named by its sha512 belongs to its image, whichever is told first', () => {
    const other = digestOf('layer', 'sha512')
    const layer = [linked('layer'), linked('layer', 'blobs', other)]
    for (const facts of [
      [...layer, named('image', other), linked('image', 'manifests')],
      [named('image', other), linked('image', 'manifests'), ...layer],
    ]) {
      using ledger = open(new Clocks())
      tell(ledger, ...facts)
      assert.deepEqual(next(ledger), [digestOf('image'), digestOf('layer')].toSorted())
    }
  })

  test('a blob is idle from when its last link goes, until there is another one', () => {
    const clocks = new Clocks()
    using ledger = open(clocks)
    tell(ledger, stored('a'), linked('a'))
    assert.equal(ledger.findIdle(ledger.now()), undefined)
    tell(ledger, { kind: 'unlinked', repository: hub, as: 'blobs', digest: digestOf('a') })
    const since = ledger.now()
    assert.equal(ledger.findIdle(since), digestOf('a'))
    assert.equal(ledger.findIdle(since - 1000), undefined)
    tell(ledger, linked('a'))
    assert.equal(ledger.findIdle(ledger.now()), undefined)
  })

  test('what went while the survey ran is not found by it', () => {
    using ledger = open(new Clocks())
    tell(ledger, { kind: 'unlinked', repository: hub, as: 'blobs', digest: digestOf('a') })
    tell(ledger, { kind: 'removed', target: digestOf('b') })
    ledger.writeFound([linked('a'), stored('b'), linked('c')])
    assert.deepEqual([ledger.isLinked(digestOf('a')), ledger.isLinked(digestOf('c')), ledger.size], [false, true, 0])
    tell(ledger, linked('a'))
    ledger.writeFound([linked('a')])
    assert.equal(ledger.isLinked(digestOf('a')), true)
  })

  test('a tag that moves while the survey has its old value in hand pins what it points at now', () => {
    using ledger = open(new Clocks(), ['hub/*:v*'])
    const tag = (text: string): Fact => ({
      kind: 'tagged',
      repository: hub,
      tag: parseTag('v1'),
      digest: digestOf(text),
    })
    tell(ledger, linked('old', 'manifests'), linked('new', 'manifests'), tag('new'))
    ledger.writeFound([tag('old')])
    assert.deepEqual(next(ledger), [digestOf('old')])
  })

  test('a layer that many images share costs a look at one of them, not at all', (context) => {
    using ledger = open(new Clocks())
    tell(ledger, linked('base'))
    for (let number = 0; number < 50; number++)
      tell(ledger, named(`image ${number}`, digestOf('base')), linked(`image ${number}`, 'manifests'))
    const all = context.mock.method(StatementSync.prototype, 'all')
    assert.deepEqual(next(ledger), [digestOf('image 0')])
    assert.ok(
      all.mock.calls.every(({ result }) => (result?.length ?? 0) < 10),
      'all of them were loaded',
    )
  })

  test('a layer of an image that joins later is looked at again, and goes with the last that has it', () => {
    using ledger = open(new Clocks())
    tell(
      ledger,
      named('list', digestOf('near'), digestOf('inner')),
      named('inner', digestOf('innermost')),
      named('innermost', digestOf('far')),
      named('near', digestOf('layer')),
      named('far', digestOf('layer')),
      linked('layer'),
      ...['list', 'inner', 'innermost', 'near', 'far'].map((text) => linked(text, 'manifests')),
    )
    assert.equal(next(ledger)?.length, 6)
  })

  test('manifests lose their links before blobs do, so that none is left whose blobs are gone', () => {
    using ledger = open(new Clocks())
    const layer = digestOf('layer')
    const facts = ['list', 'image'].map((text) => linked(text, 'manifests'))
    tell(ledger, named('list', layer, digestOf('image')), named('image', layer), linked('layer'), ...facts)
    assert.deepEqual(
      nextUnit(ledger)?.links.map(({ digest }) => digest),
      [digestOf('list'), digestOf('image'), layer],
    )
  })

  test('a tag pins what it points at, and that alone', () => {
    using ledger = open(new Clocks(), ['hub/*:v*'])
    const v1 = parseTag('v1')
    tell(ledger, linked('a', 'manifests'), linked('b', 'manifests'))
    tell(ledger, { kind: 'tagged', repository: hub, tag: v1, digest: digestOf('a') })
    assert.deepEqual(next(ledger), [digestOf('b')])
    tell(ledger, { kind: 'tagged', repository: hub, tag: v1, digest: digestOf('b') })
    assert.deepEqual(next(ledger), [digestOf('a')])
    tell(ledger, { kind: 'unlinked', repository: hub, as: 'manifests', digest: digestOf('a') })
    assert.equal(next(ledger), undefined)
    tell(ledger, { kind: 'untagged', repository: hub, tag: v1 })
    assert.deepEqual(next(ledger), [digestOf('b')])
  })
})
