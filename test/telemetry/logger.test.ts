import assert from 'node:assert/strict'
import { test } from 'node:test'
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
