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
    [
      { auth: { htpasswd: { realm: 'r', path: join(words, 'a/b') } } },
      /auth\.htpasswd\.path: .* cannot be made: ENOTDIR/,
    ],
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

const states = ['missing', 'folder', 'empty', 'garbage'] as const

type State = (typeof states)[number]

const right = selfSigned()
const garbage = 'asecret \u0000 { not what it should be'

interface Row {
  /** As the line names it. */
  readonly key: string
  /** Top-level sections, with a file at `path`; `good` are those that are right. */
  readonly sections: (
    path: string,
    good: { readonly certificate: string; readonly key: string },
  ) => Record<string, object>
  /** What is no reason not to start. */
  readonly passes?: readonly State[]
  /** Whether that is said all the same. */
  readonly warns?: boolean
}

const upstream = (access: object): Record<string, object> => ({
  proxy: { upstreams: { up: { url: 'https://127.0.0.1:1', ...access } } },
})
const token = (keys: object): Record<string, object> => ({
  auth: { token: { realm: 'https://a', service: 's', issuer: 'i', ...keys } },
})
const hook = (smtp: object): Record<string, object> => ({
  log: { hooks: [{ type: 'mail', options: { smtp: { addr: '127.0.0.1:1', ...smtp }, to: ['ops@example.com'] } }] },
})

const rows: readonly Row[] = [
  { key: 'http.tls.certificate', sections: (path, good) => ({ http: { tls: { certificate: path, key: good.key } } }) },
  { key: 'http.tls.key', sections: (path, good) => ({ http: { tls: { certificate: good.certificate, key: path } } }) },
  { key: 'http.tls.clientcas[0]', sections: (path, good) => ({ http: { tls: { ...good, clientcas: [path] } } }) },
  {
    key: 'http.tls.letsencrypt.cachefile',
    sections: (path) => ({ http: { tls: { letsencrypt: { cachefile: path, hosts: ['a.test'] } } } }),
    passes: ['missing'], // it is made at start
  },
  {
    key: 'auth.htpasswd.path',
    sections: (path) => ({ auth: { htpasswd: { realm: 'r', path } } }),
    passes: ['missing'], // it is made at start
  },
  { key: 'auth.token.rootcertbundle', sections: (path) => token({ rootcertbundle: path }) },
  { key: 'auth.token.jwks', sections: (path) => token({ jwks: path }) },
  {
    key: 'proxy.passwordfile',
    sections: (path) => ({ proxy: { remoteurl: 'https://127.0.0.1:1', username: 'u', passwordfile: path } }),
    passes: ['garbage'], // a password may be anything
  },
  {
    key: 'proxy.httpproxyfile',
    sections: (path) => ({ proxy: { remoteurl: 'https://127.0.0.1:1', httpproxyfile: path } }),
  },
  {
    key: 'proxy.upstreams.up.passwordfile',
    sections: (path) => upstream({ username: 'u', passwordfile: path }),
    passes: ['garbage'],
  },
  { key: 'proxy.upstreams.up.httpproxyfile', sections: (path) => upstream({ httpproxyfile: path }) },
  { key: 'proxy.upstreams.up.tls.ca', sections: (path) => upstream({ tls: { ca: path } }) },
  {
    key: 'proxy.upstreams.up.tls.certificate',
    sections: (path, good) => upstream({ tls: { certificate: path, key: good.key } }),
  },
  {
    key: 'proxy.upstreams.up.tls.key',
    sections: (path, good) => upstream({ tls: { certificate: good.certificate, key: path } }),
  },
  {
    key: 'proxy.upstreams.up.mirrors[0].tls.ca',
    sections: (path) => upstream({ mirrors: [{ url: 'https://127.0.0.1:2', tls: { ca: path } }] }),
  },
  {
    key: 'proxy.upstreams.up.authfile',
    sections: (path) => upstream({ authfile: path }),
    passes: states, // whoever logs in later is heard
    warns: true,
  },
  {
    key: 'proxy.upstreams.up.exec.command',
    sections: (path) => upstream({ exec: { command: path } }),
    passes: states, // it is run at the first pull
  },
  {
    key: 'redis.tls.rootcas[0]',
    sections: (path) => ({ redis: { addr: '127.0.0.1:1', tls: { rootcas: [path] } } }),
    passes: states, // it is said that it has no effect
  },
  {
    key: 'middleware.registry[0].options.path',
    sections: (path) => ({ middleware: { registry: [{ name: 'module', options: { path } }] } }),
  },
  {
    key: 'middleware.repository[0].options.path',
    sections: (path) => ({ middleware: { repository: [{ name: 'module', options: { path } }] } }),
  },
  {
    key: 'middleware.storage[0].options.privatekey',
    sections: (path) => ({
      middleware: {
        storage: [{ name: 'cloudfront', options: { baseurl: 'https://a.test', keypairid: 'K', privatekey: path } }],
      },
    }),
  },
  { key: 'compatibility.schema1.trustkey', sections: (path) => ({ compatibility: { schema1: { trustkey: path } } }) },
  {
    key: 'compatibility.schema1.signingkeyfile',
    sections: (path) => ({ compatibility: { schema1: { signingkeyfile: path } } }),
  },
  {
    key: 'log.hooks[0].options.smtp.passwordfile',
    sections: (path) => hook({ username: 'u', passwordfile: path }),
    passes: ['garbage'],
  },
  {
    key: 'health.file[0].file',
    sections: (path) => ({ health: { file: [{ file: path }] } }),
    passes: states, // whether it is there is the question
  },
]

for (const { key, sections, passes = [], warns = false } of rows) {
  test(`P10: a file of ${key} that is not what it should be is one line, at start and of check`, async () => {
    for (const state of states) {
      await using folder = await temporaryFolder()
      const path = join(folder.path, state)
      const good = { certificate: join(folder.path, 'good.pem'), key: join(folder.path, 'good.key') }
      await writeFile(good.certificate, right.certificate)
      await writeFile(good.key, right.key)
      if (state === 'folder') await mkdir(path)
      else if (state !== 'missing') await writeFile(path, state === 'empty' ? '' : garbage)
      const config = await configFile(folder.path, sections(path, good))
      const before = await readdir(folder.path)
      const checked = await command(['check', config])
      assert.deepEqual(await readdir(folder.path), before, 'check makes nothing')
      if (passes.includes(state)) {
        assert.equal(checked.code, 0, `${state}: ${checked.stderr}`)
        if (warns) assert.match(checked.stderr, /^warning: [^\n]+; it is read again at each pull\n$/)
        if (warns) assert.ok(checked.stderr.startsWith(`warning: ${key}: ${path} `), checked.stderr)
        continue
      }
      assert.equal(checked.code, 1, `${state}: ${checked.stdout}`)
      assert.match(checked.stderr, /^configuration error: [^\n]+\n$/)
      assert.ok(checked.stderr.startsWith(`configuration error: ${key}: ${path} `), checked.stderr)
      assert.doesNotMatch(checked.stderr, /asecret/)
      const started = await command(['serve', config])
      assert.deepEqual([started.code, started.stderr], [1, checked.stderr])
      assert.deepEqual(await readdir(folder.path), before, 'nothing is put in its place')
    }
  })
}
