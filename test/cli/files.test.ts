// Files that a configuration names, and that are not what they should be: `check` says of them what a start says.
import assert from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/app-under-test.ts'
import { selfSigned } from '../support/certificates.ts'
import { command } from '../support/command.ts'

async function configFile(folder: string, { http = {}, ...sections }: Record<string, object>): Promise<string> {
  const path = join(folder, 'config.yml')
  const all = { version: 0.1, storage: { inmemory: {} }, http: { addr: '127.0.0.1:0', ...http }, ...sections }
  await writeFile(path, JSON.stringify(all))
  return path
}

test('P10: check refuses what a start refuses of modules, keys and certificates, in the same line', async () => {
  await using folder = await temporaryFolder()
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder.path, name), text)
    return join(folder.path, name)
  }
  const weak = selfSigned({ curve: 'prime192v1' })
  const [certificate, key] = [await file('weak.pem', weak.certificate), await file('weak.key', weak.key)]
  const misspelt = await file('misspelt.js', 'export const alow = () => ({ allow: true })')
  const words = await file('words', 'words')
  const missing = join(folder.path, 'missing')
  const module = (path: string): object => ({ name: 'module', options: { path } })
  const letsencrypt = (cachefile: string): object => ({ tls: { letsencrypt: { cachefile, hosts: ['a.test'] } } })
  const refused: [Record<string, object>, RegExp][] = [
    [{ middleware: { registry: [module(missing)] } }, /middleware\.registry\[0\].*missing cannot be loaded/],
    [
      { middleware: { registry: [module(misspelt)] } },
      /middleware\.registry\[0\].*misspelt\.js exports alow, expected/,
    ],
    [{ middleware: { repository: [module(misspelt)] } }, /middleware\.repository\[0\].*exports alow, expected/],
    [{ compatibility: { schema1: { trustkey: missing } } }, /compatibility\.schema1\.trustkey: .*missing/],
    [{ compatibility: { schema1: { trustkey: words } } }, /compatibility\.schema1\.trustkey: .*neither a private key/],
    [{ http: letsencrypt(words) }, /http\.tls\.letsencrypt\.cachefile: .*words is damaged, or not ours/],
    [{ http: { tls: { certificate, key } } }, /http\.tls\.certificate: .*weak\.pem cannot be used: .*KEY_TOO_SMALL/],
  ]
  for (const [sections, message] of refused) {
    const config = await configFile(folder.path, sections)
    const [checked, started] = [await command(['check', config]), await command(['serve', config])]
    assert.match(checked.stderr, message)
    assert.match(checked.stderr, /^configuration error: [^\n]+\n$/)
    assert.deepEqual([checked.code, checked.stdout, checked.stderr], [1, '', started.stderr])
  }
})

test('check makes nothing of what a start would make, and lets it pass', async () => {
  await using folder = await temporaryFolder()
  await mkdir(join(folder.path, 'kept'))
  const path = (name: string): string => join(folder.path, 'kept', name)
  const sections = {
    http: { tls: { letsencrypt: { cachefile: path('acme.json'), hosts: ['a.test'] } } },
    auth: { htpasswd: { realm: 'r', path: path('htpasswd') } },
  }
  const checked = await command(['check', await configFile(folder.path, sections)])
  assert.deepEqual([checked.code, checked.stderr], [0, ''])
  assert.deepEqual(await readdir(join(folder.path, 'kept')), [])
})
