import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseArguments } from '../../bench/arguments.ts'

const measures = ['small', 'cold']

test('without words everything is measured', () => {
  assert.deepEqual(parseArguments([], measures), {
    isQuick: false,
    isSecure: false,
    only: [],
    runs: undefined,
    objects: undefined,
    folder: undefined,
    peers: undefined,
    write: false,
  })
})

test('words and options are understood in any order', () => {
  const parsed = parseArguments(
    ['--only', 'cold,small', 'quick', '--runs', '3', '--objects', '1000', '--tls', '--write'],
    measures,
  )
  assert.deepEqual(
    { ...parsed },
    {
      isQuick: true,
      isSecure: true,
      only: ['cold', 'small'],
      runs: 3,
      objects: 1000,
      folder: undefined,
      peers: undefined,
      write: true,
    },
  )
})

const wrong: readonly (readonly [readonly string[], RegExp])[] = [
  [['quickly'], /not understood: quickly/],
  [['--only', 'cold,hot'], /there is no hot/],
  [['--only', ''], /there is no /],
  [['--runs', '0'], /--runs is a number of at least 1/],
  [['--runs', 'five'], /--runs/],
  [['--objects', '10'], /--objects is a number of at least 1000/],
  [['--fast'], /--fast/],
]

for (const [words, message] of wrong) {
  test(`${words.join(' ')} is refused`, () => {
    assert.throws(() => parseArguments(words, measures), message)
  })
}
