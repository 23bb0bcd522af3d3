import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseChallenges } from '../../src/upstream/challenge.ts'

const table: ReadonlyArray<{ why: string; lines: string[]; expected: Array<[string, Record<string, string>]> }> = [
  {
    why: "Docker Hub's own",
    lines: ['Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"'],
    expected: [
      [
        'bearer',
        { realm: 'https://auth.docker.io/token', service: 'registry.docker.io', scope: 'repository:a/b:pull' },
      ],
    ],
  },
  {
    why: 'parameters in another order, with white space',
    lines: ['bearer  service = "s" ,  realm="r"'],
    expected: [['bearer', { service: 's', realm: 'r' }]],
  },
  {
    why: 'several schemes in one line',
    lines: ['Basic realm="b", Bearer realm="r",service="s"'],
    expected: [
      ['basic', { realm: 'b' }],
      ['bearer', { realm: 'r', service: 's' }],
    ],
  },
  {
    why: 'several lines',
    lines: ['Basic realm="b"', 'Bearer realm="r"'],
    expected: [
      ['basic', { realm: 'b' }],
      ['bearer', { realm: 'r' }],
    ],
  },
  {
    why: 'a comma and a scheme name within quotes',
    lines: ['Bearer realm="a, Basic realm=x",service="s"'],
    expected: [['bearer', { realm: 'a, Basic realm=x', service: 's' }]],
  },
  {
    why: 'escapes within quotes',
    lines: ['Basic realm="say \\"hi\\" \\\\ there"'],
    expected: [['basic', { realm: 'say "hi" \\ there' }]],
  },
  {
    why: 'values without quotes, a URL among them',
    lines: ['Bearer realm=https://auth.example/token,service=s'],
    expected: [['bearer', { realm: 'https://auth.example/token', service: 's' }]],
  },
  {
    why: 'a scheme with token68 before another',
    lines: ['Negotiate abc123==, Bearer realm="r"'],
    expected: [
      ['negotiate', {}],
      ['bearer', { realm: 'r' }],
    ],
  },
  {
    why: 'a scheme alone',
    lines: ['Negotiate, Basic'],
    expected: [
      ['negotiate', {}],
      ['basic', {}],
    ],
  },
  { why: 'empty elements', lines: [' , ,Basic realm="b", ,'], expected: [['basic', { realm: 'b' }]] },
  { why: 'a parameter twice', lines: ['Bearer realm="one",realm="two"'], expected: [['bearer', { realm: 'one' }]] },
  {
    why: 'a quote that does not end',
    lines: ['Bearer service="s",realm="r', 'Basic realm="b"'],
    expected: [
      ['bearer', { service: 's' }],
      ['basic', { realm: 'b' }],
    ],
  },
  { why: 'nothing', lines: ['', '"', '='], expected: [] },
]

for (const { why, lines, expected } of table) {
  test(`a challenge is read: ${why}`, () => {
    const read = parseChallenges(lines).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)])
    assert.deepEqual(read, expected)
  })
}

test('P7: a challenge without end costs nothing', () => {
  assert.deepEqual(parseChallenges(['Basic realm="'.padEnd(100_000, 'a')]), [])
  assert.ok(parseChallenges(['A, '.repeat(2000)]).length <= 16)
  const [many] = parseChallenges([`Bearer ${Array.from({ length: 500 }, (_, index) => `p${index}=v`).join(',')}`])
  assert.ok((many?.parameters.size ?? 0) <= 32)
})
