import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { mock, test } from 'node:test'
import { openLogger } from '../../src/telemetry/logger.ts'
import { BatchedLines } from '../../src/telemetry/batched-lines.ts'

function gathered(): { written: string[]; write(text: string): void } {
  const written: string[] = []
  return { written, write: (text) => written.push(text) }
}

test('lines that come together leave together, in order, a moment later', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const target = gathered()
    const lines = new BatchedLines(target)
    lines.write('one\n')
    lines.write('two\n')
    assert.deepEqual(target.written, [])
    mock.timers.tick(20)
    assert.deepEqual(target.written, ['one\ntwo\n'])
    lines.write('three\n')
    mock.timers.tick(20)
    assert.deepEqual(target.written, ['one\ntwo\n', 'three\n'])
    mock.timers.tick(1000)
    assert.equal(target.written.length, 2)
  } finally {
    mock.timers.reset()
  }
})

test('P7: what waits is bounded', () => {
  const target = gathered()
  using lines = new BatchedLines(target)
  for (let count = 0; count < 10_000; count += 1) lines.write(`${'x'.repeat(99)}\n`)
  assert.ok(target.written.length >= 15, `${target.written.length} times`)
})

test('nothing is left behind at the end', () => {
  const target = gathered()
  {
    using lines = new BatchedLines(target)
    lines.write('last\n')
  }
  assert.deepEqual(target.written, ['last\n'])
})

test('P7: a log that nobody reads is not kept in memory, and how much is missing is said', () => {
  const written: string[] = []
  const target = { writableLength: 0, write: (text: string) => written.push(text) }
  {
    using lines = new BatchedLines(target)
    lines.write('{"msg":"one"}\n')
    target.writableLength = 5 * 1024 * 1024
    for (let count = 0; count < 1000; count += 1) lines.write('{"msg":"lost"}\n')
    target.writableLength = 0
    lines.write('{"msg":"two"}\n')
  }
  const told = written
    .join('')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string; lines?: number })
  assert.deepEqual(
    told.map(({ msg, lines }) => [msg, lines]),
    [
      ['one', undefined],
      ['log lines dropped', 1000],
      ['two', undefined],
    ],
  )
})

test('P7: as text, a log that nobody reads is not kept in memory either', async () => {
  let text = ''
  let next: (() => void) | undefined
  let isRead = false
  const destination = new Writable({
    write(chunk, _, done) {
      text += String(chunk)
      next = done
      if (isRead) done()
    },
  })
  const logger = await openLogger('text', { level: 'info', destination })
  const lines = 20_000
  for (let count = 0; count < lines; count += 1) logger.info({ filler: 'x'.repeat(1000) }, 'a line')
  isRead = true
  next?.()
  let dropped: RegExpExecArray | null = null
  while (dropped === null) {
    await new Promise(setImmediate)
    logger.info('another')
    dropped = /log lines dropped.*"lines":(\d+)/.exec(text)
  }
  const kept = text.split('a line').length - 1
  assert.ok(kept > 100 && kept < lines / 2, `${kept}`)
  assert.ok(Number(dropped[1]) >= lines - kept, `${kept} ${dropped[1]}`)
})

test('what is written after the end is written at once', () => {
  const target = gathered()
  const lines = new BatchedLines(target)
  lines[Symbol.dispose]()
  lines.write('late\n')
  assert.deepEqual(target.written, ['late\n'])
})
