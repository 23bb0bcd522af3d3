import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RegistryError } from '../../src/oci/error.ts'
import { UpstreamError } from '../../src/registry/upstream-error.ts'
import { redactUrls } from '../../src/telemetry/logger.ts'
import { recordingLogger } from '../support/recording-logger.ts'

test('P8: fields that hold a secret are never written', () => {
  const { logger, text } = recordingLogger()
  logger.info({ password: 'canary1', headers: { authorization: 'Bearer canary2' }, token: 'canary3' }, 'message')
  assert.doesNotMatch(text(), /canary/)
  assert.match(text(), /redacted/)
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

test('texts without URLs stay as they are', () => {
  assert.equal(redactUrls('ENOENT: no such file, open /x?y'), 'ENOENT: no such file, open /x?y')
})

test('an error that is an expected outcome is logged without a stack, its cause is not lost', () => {
  const { logger, lines } = recordingLogger()
  const cause = new Error('ECONNRESET')
  for (const error of [
    new UpstreamError('timeout', 'h', 'late', { cause }),
    new RegistryError('DENIED', 'no', { cause }),
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
