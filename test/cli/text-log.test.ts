import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { run } from '../../src/cli/run.ts'
import { temporaryFolder } from '../support/app-under-test.ts'

test('a server whose log is text starts, says so, and ends', { timeout: 30_000 }, async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'config.yml')
  const http = { addr: '127.0.0.1:0', draintimeout: '0s' }
  await writeFile(path, JSON.stringify({ version: 0.1, log: { formatter: 'text' }, storage: { inmemory: {} }, http }))
  const stop = new AbortController()
  let text = ''
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk)
      if (text.includes('listening')) stop.abort('SIGTERM')
      done()
    },
  })
  const stderr = new Writable({ write: (_chunk, _encoding, done) => done() })
  const failed = new AbortController().signal
  const io = { stdout, stderr, env: {}, cwd: folder.path, signal: stop.signal, failed }
  assert.equal(await run(['serve', path], io), 0)
  assert.match(text, /INFO.*listening/)
})
