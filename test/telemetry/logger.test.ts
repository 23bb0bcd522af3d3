import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { DigestMismatchError } from '../../src/bytes/digester.ts'
import { DriverError, PathNotFoundError } from '../../src/drivers/driver.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { UnreadableError } from '../../src/registry/unreadable-error.ts'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import { createLogger, openLogger, quieter, redactUrls } from '../../src/telemetry/logger.ts'
import { recordingLogger } from '../support/recording-logger.ts'

test('P8: fields that hold a secret are never written', () => {
  const { logger, text } = recordingLogger()
  logger.info({ password: 'canary1', headers: { authorization: 'Bearer canary2' }, token: 'canary3' }, 'message')
  assert.doesNotMatch(text(), /canary/)
  assert.match(text(), /redacted/)
})

test('P8: nor are those that all lines of a logger carry, or of one made from it', () => {
  const fields = { password: 'canary1', headers: { authorization: 'Bearer canary2' }, shown: 1 }
  const written: string[] = []
  const destination = { write: (line: string): number => written.push(line) }
  createLogger({ level: 'info', fields, destination }).info('message')
  const { logger, lines, text } = recordingLogger()
  for (const one of [logger, quieter(logger), logger.child({})]) {
    one.child(fields).child({ token: 'canary3', kept: 2 }).warn({ secret: 'canary4' }, 'message')
  }
  const { time: _, ...line } = lines[0] ?? {}
  const redacted = { password: '[redacted]', headers: { authorization: '[redacted]' }, token: '[redacted]' }
  assert.deepEqual(line, { level: 'warn', ...redacted, shown: 1, kept: 2, secret: '[redacted]', msg: 'message' })
  assert.equal(lines.length, 3)
  assert.match(written.join(''), /"shown":1/)
  assert.doesNotMatch(text() + written.join(''), /canary/)
})

test('a logger that was made from another follows its level', () => {
  const written: string[] = []
  const logger = createLogger({ level: 'warn', destination: { write: (line) => written.push(line) } })
  const children = [logger.child({ a: 1 }), quieter(logger).child({ a: 1 })]
  for (const [level, count] of [
    ['info', 1],
    ['debug', 2],
    ['error', 0],
  ] as const) {
    logger.level = level
    written.length = 0
    for (const child of children) child.info('message')
    assert.equal(written.length, count, level)
  }
})

test('P8: URLs in errors lose their query and user name, causes too', () => {
  const { logger, text } = recordingLogger()
  const cause = new Error('GET https://cdn.example/blob?X-Amz-Signature=canary1&e=2 failed')
  logger.warn({ error: new Error('to http://me:canary2@host.example/x#canary3', { cause }) }, 'failed')
  assert.doesNotMatch(text(), /canary/)
  assert.match(text(), /cdn\.example\/blob failed/)
})

test('an error is logged with its type, code and causes', () => {
  const { logger, lines } = recordingLogger()
  logger.error({ error: Object.assign(new Error('no'), { code: 'EIO' }) }, 'failed')
  const error = lines[0]?.['error']
  assert.ok(typeof error === 'object' && error !== null && 'code' in error && 'stack' in error)
  assert.equal(error.code, 'EIO')
})

test('whatever was thrown is logged, and logging it never fails', () => {
  const { logger, lines } = recordingLogger()
  const speechless = { toString: (): never => assert.fail('it cannot be put into words') }
  const thrown: readonly (readonly [thrown: unknown, message: string])[] = [
    ['text', 'text'],
    [Symbol('a'), 'Symbol(a)'],
    [Object.create(null), 'what was thrown cannot be described'],
    [speechless, 'what was thrown cannot be described'],
    [Object.assign(new Error('a'), { message: 7 }), '7'],
    [Object.assign(new Error('a'), { stack: {} }), 'a'],
    [new Error('a', { cause: speechless }), 'a'],
  ]
  for (const [error, message] of thrown) {
    logger.warn({ error }, 'failed')
    assert.partialDeepStrictEqual(lines.at(-1)?.['error'], { message })
  }
})

test('texts without URLs stay as they are', () => {
  assert.equal(redactUrls('ENOENT: no such file, open /x?y'), 'ENOENT: no such file, open /x?y')
})

test('an error that is an expected outcome is logged without a stack, its cause is not lost', () => {
  const { logger, lines } = recordingLogger()
  const cause = new Error('ECONNRESET')
  for (const error of [
    new UpstreamError('timeout', 'h', 'late', { cause }),
    new RegistryError('DENIED', 'no', { cause }),
    new DriverError('ENOSPC', 'ENOSPC at /entrepot/fills/a', { cause }),
    new PathNotFoundError('/docker/a', { cause }),
    new UnreadableError('it cannot be read', { cause }),
    Object.assign(new DigestMismatchError(digestOf(Buffer.of())), { cause }),
    Object.assign(new Error('read ECONNRESET', { cause }), { code: 'ECONNRESET', syscall: 'read' }),
    Object.assign(new Error('database or disk is full', { cause }), { code: 'ERR_SQLITE_ERROR' }),
  ]) {
    logger.warn({ error }, 'failed')
    const described = lines.at(-1)?.['error']
    assert.ok(typeof described === 'object' && described !== null && !('stack' in described))
    assert.ok('cause' in described)
  }
})

const urls: ReadonlyArray<[string, string]> = [
  ['https://u:p@ss@h.example/x', 'https://h.example/x'],
  ['https://u:p@h.example/a@b', 'https://h.example/a@b'],
  ['https://u:p?q@h.example/x', 'https://'],
  ['https://u:p#q@h.example/x', 'https://'],
  ['https://h.example?to=me@secret/x', 'https://'],
  ['https://h.example/x?a=me@secret', 'https://h.example/x'],
  ['"https://a.example/x?y" and https://u:p@b.example', '"https://a.example/x" and https://b.example'],
]

for (const [text, expected] of urls) {
  test(`P8: of «${text}» nothing is left but «${expected}»`, () => assert.equal(redactUrls(text), expected))
}

const hostile = 'a\r\nFAKE \u001b[31m\u009b2J \u2028\u2029 \u202egnp \u007f'

test('T-95: what a stranger says stays within its line, and is shown, not obeyed', () => {
  const { logger, text, lines } = recordingLogger()
  logger.info({ reference: hostile, error: new Error(hostile), [hostile]: 1 }, 'message')
  assert.doesNotMatch(text().trimEnd(), /[\p{Cc}\u2028-\u202e]/u)
  assert.equal(lines[0]?.['reference'], hostile, 'a machine reads what was said')
  assert.equal(lines[0]?.[hostile], 1)
})

test('T-95: nor does a terminal obey it', async () => {
  const written: string[] = []
  const destination = new Writable({
    write(chunk, _, done) {
      written.push(String(chunk))
      done()
    },
  })
  const logger = await openLogger('text', { level: 'info', destination })
  logger.info({ reference: hostile, error: new Error(hostile) }, 'message')
  while (written.length === 0) await new Promise(setImmediate)
  assert.doesNotMatch(written.join('').replaceAll('\n', ''), /[\p{Cc}\u2028-\u202e]/u)
  assert.doesNotMatch(written.join(''), /^FAKE/m)
})

const long: Readonly<Record<string, Record<string, unknown>>> = {
  'a text': { reference: 'x'.repeat(100_000) },
  'an error': { error: new Error('y'.repeat(100_000), { cause: new Error('z'.repeat(100_000)) }) },
  'a list': { links: Array.from({ length: 50_000 }, (_, nth) => `sha256:${nth}`) },
  'many fields': Object.fromEntries(Array.from({ length: 5000 }, (_, nth) => [`field ${nth} ${'k'.repeat(50)}`, 'v'])),
  'many long fields': Object.fromEntries(Array.from({ length: 20 }, (_, nth) => [String(nth), '…'.repeat(5000)])),
  'a wide tree': { a: Array.from({ length: 99 }, () => Array.from({ length: 99 }, () => Array(99).fill('w'))) },
  'what grows when it is escaped': { reference: '\u2028'.repeat(2500) },
}

for (const [what, fields] of Object.entries(long)) {
  test(`T-95, P7: a line with ${what} has at most 8 KiB, and says so`, () => {
    const { logger, text, lines } = recordingLogger()
    logger.warn(fields, 'message')
    assert.ok(Buffer.byteLength(text()) <= 8192, String(text().length))
    assert.equal(lines[0]?.['msg'], 'message')
    assert.equal(lines[0]['level'], 'warn')
    assert.equal(lines[0]['shortened'], true)
  })
}
