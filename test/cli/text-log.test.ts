import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/app-under-test.ts'
import { serveUntil } from '../support/serve-until.ts'

test('a server whose log is text starts, says so, and ends', { timeout: 30_000 }, async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'config.yml')
  const http = { addr: '127.0.0.1:0', draintimeout: '0s' }
  await writeFile(path, JSON.stringify({ version: 0.1, log: { formatter: 'text' }, storage: { inmemory: {} }, http }))
  const { code, log } = await serveUntil('listening', path)
  assert.equal(code, 0)
  assert.match(log, /INFO.*listening/)
})
