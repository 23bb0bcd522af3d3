import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isMet, Results, resultTable, type Column, type RowId } from '../../bench/rows.ts'

function resultsOf(row: RowId, values: Partial<Record<Column, readonly number[]>>): Results {
  const results = new Results()
  for (const [column, runs] of Object.entries(values))
    for (const value of runs) results.note(row, column as Column, value)
  return results
}

const verdicts: readonly (readonly [RowId, Partial<Record<Column, readonly number[]>>, boolean | undefined])[] = [
  ['digest', { entrepot: [2000], 'docker-registry': [100], yardstick: [4000] }, true],
  ['digest', { entrepot: [1999], 'docker-registry': [100], yardstick: [3000] }, false],
  ['digest', { entrepot: [2000], 'docker-registry': [100], yardstick: [4001] }, false],
  ['digest', { entrepot: [2000], 'docker-registry': [100], distribution: [101] }, false],
  ['digest', { entrepot: [1, 2000, 9999], 'docker-registry': [100, 1, 1000] }, true],
  ['digest', { entrepot: [2000] }, undefined],
  ['digest', { 'docker-registry': [100] }, undefined],
  ['cpu', { entrepot: [0.4], 'docker-registry': [0.5], yardstick: [0.2] }, true],
  ['cpu', { entrepot: [0.4], 'docker-registry': [0.3], yardstick: [0.2] }, false],
  ['first', { entrepot: [12], yardstick: [2] }, true],
  ['first', { entrepot: [12.1], yardstick: [2] }, false],
  ['transfers', { entrepot: [1] }, true],
  ['transfers', { entrepot: [2], 'docker-registry': [2] }, false],
]

for (const [row, values, met] of verdicts) {
  test(`${row}: ${JSON.stringify(values)} is ${met === undefined ? 'not judged' : met ? 'met' : 'missed'}`, () => {
    assert.equal(isMet(row, resultsOf(row, values)), met)
  })
}

test('the table has a line for what was measured, a column for who is here, and a dash for what is not', () => {
  const results = resultsOf('digest', { entrepot: [3000, 1000, 2000], yardstick: [4000] })
  for (const value of [1, 1, 1]) results.note('transfers', 'entrepot', value)
  const names = { entrepot: 'entrepot', 'docker-registry': 'docker-registry 2', yardstick: 'nginx 1' }
  assert.deepEqual(resultTable(results, names).split('\n'), [
    '| work | entrepot | docker-registry 2 | nginx 1 | target | met |',
    '| --- | --- | --- | --- | --- | --- |',
    '| cached manifest by digest | 2,000 /s (1,000–3,000) | – | 4,000 /s · 0.50× | ≥ 20× peers, ≥ 0.5× nginx | yes |',
    '| bytes from the origin for it ÷ size | 1.00× | – | – | 1.00 | yes |',
  ])
})
