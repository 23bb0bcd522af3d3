import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { run } from '../../src/cli/run.ts'
import { deferred } from '../../src/async/deferred.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { startMailServer } from '../support/mail-server.ts'

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command; a server is asked to end as soon as it has said that it listens. */
async function command(args: readonly string[], env: Record<string, string> = {}, cwd = '/'): Promise<Ran> {
  const stop = new AbortController()
  const written = { stdout: '', stderr: '' }
  const into = (name: 'stdout' | 'stderr'): Writable =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += String(chunk)
        if (written.stdout.includes('"listening"')) stop.abort('SIGTERM')
        done()
      },
    })
  const code = await run(args, {
    stdout: into('stdout'),
    stderr: into('stderr'),
    env,
    cwd,
    signal: stop.signal,
    failed: new AbortController().signal,
  })
  return { code, ...written }
}

async function configFile(folder: string, text: string): Promise<string> {
  const path = join(folder, 'config.yml')
  await writeFile(path, text)
  return path
}

test('a damaged file of certificates is one line at start, and check says what can be seen without it', async () => {
  await using folder = await temporaryFolder()
  const kept = join(folder.path, 'kept.json')
  await writeFile(kept, '{')
  const tls = (cachefile: string, hosts: string): string =>
    `version: 0.1\nstorage: inmemory\nhttp: { addr: 127.0.0.1:0, tls: { letsencrypt: { cachefile: ${cachefile}, hosts: [${hosts}] } } }`
  const started = await command(['serve', await configFile(folder.path, tls(kept, 'a.test'))])
  assert.equal(started.code, 1)
  assert.match(
    started.stderr,
    /^configuration error: http\.tls\.letsencrypt\.cachefile: .*kept\.json is damaged, [^\n]*\n$/,
  )
  const checked = await command(['check', await configFile(folder.path, tls(kept, ''))])
  assert.equal(checked.code, 1)
  assert.match(checked.stderr, /^configuration error: http\.tls\.letsencrypt\.hosts: missing/)
})

test('serve prints one readable block, logs that it listens, drains and ends with 0', async () => {
  await using folder = await temporaryFolder()
  const config = `
version: 0.1
http: { addr: "127.0.0.1:0" }
storage: { filesystem: { rootdirectory: ${folder.path} } }
proxy: { upstreams: { docker.io: { url: "https://registry-1.docker.io", default: true } } }
`
  const { code, stdout, stderr } = await command(['serve', await configFile(folder.path, config)])
  assert.equal(code, 0)
  for (const text of [
    'address',
    'http://127.0.0.1:',
    folder.path,
    'docker.io',
    'registry-mirrors',
    'hosts.toml',
    'registries.conf',
  ]) {
    assert.ok(stderr.includes(text), text)
  }
  const messages = stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { msg: string }).msg)
  assert.deepEqual(messages, ['listening', 'draining', 'stopped'])
})

test('without arguments it serves the default mirror into ./data', async () => {
  await using folder = await temporaryFolder()
  const { code, stderr } = await command([], { REGISTRY_HTTP_ADDR: '127.0.0.1:0' }, folder.path)
  assert.equal(code, 0)
  for (const name of [
    'docker.io',
    'ghcr.io',
    'quay.io',
    'registry.k8s.io',
    'gcr.io',
    'mcr.microsoft.com',
    'public.ecr.aws',
    'nvcr.io',
  ]) {
    assert.ok(stderr.includes(name), name)
  }
  assert.ok(stderr.includes(join(folder.path, 'data')))
})

test('T-103, P10: a wrong configuration is one line that names the key, and exit code 1', async () => {
  await using folder = await temporaryFolder()
  const cases: [string, RegExp][] = [
    ['version: 0.1\nstorage: inmemory\nhttp: { adr: ":5000" }\n', /http\.adr.*http\.addr/],
    ['version: 0.1\nstorage: inmemory\nhttp: { draintimeout: soon }\n', /http\.draintimeout/],
    ['version: 0.1\nstorage: inmemory\nproxy: { upstreams: { a: { url: "ftp://x" } } }\n', /proxy\.upstreams\.a\.url/],
    ['version: [', /:1:/],
    ['', /version/],
  ]
  for (const [text, message] of cases) {
    const path = await configFile(folder.path, text)
    for (const name of ['check', 'serve']) {
      const { code, stdout, stderr } = await command([name, path])
      assert.equal(code, 1, text)
      assert.equal(stdout, '')
      assert.match(stderr, message)
      assert.equal(stderr.trimEnd().split('\n').length, 1, stderr)
    }
  }
})

test('check names what has no effect, and a valid configuration passes', async () => {
  await using folder = await temporaryFolder()
  const path = await configFile(folder.path, 'version: 0.1\nstorage: inmemory\nreporting: { bugsnag: { apikey: x } }\n')
  const { code, stdout, stderr } = await command(['check', path])
  assert.equal(code, 0)
  assert.match(stderr, /^warning: reporting/)
  assert.match(stdout, /valid/)
})

test('P10: check looks into the files of auth, says in one line what is wrong with one, and makes none', async () => {
  await using folder = await temporaryFolder()
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder.path, name), text)
    return join(folder.path, name)
  }
  const missing = join(folder.path, 'missing')
  const token = 'realm: https://a, service: s, issuer: i'
  const cases: [string, RegExp | undefined][] = [
    [`htpasswd: { realm: r, path: ${missing} }`, undefined], // it is made at start
    [
      `htpasswd: { realm: r, path: ${await file('plain', 'me:secret')} }`,
      /auth\.htpasswd\.path: .*plain holds no password that is/,
    ],
    [
      `htpasswd: { realm: r, path: ${await file('words', 'asecret')} }`,
      /auth\.htpasswd\.path: .*words cannot be used: line 1 has no colon/,
    ],
    [`htpasswd: { realm: r, path: ${folder.path} }`, /auth\.htpasswd\.path: .* cannot be read: EISDIR/],
    [`token: { ${token}, jwks: ${missing} }`, /auth\.token\.jwks: .*missing cannot be read: ENOENT/],
    [
      `token: { ${token}, jwks: ${await file('keys', 'asecret')} }`,
      /auth\.token\.jwks: .*keys cannot be used: not JSON/,
    ],
    [
      `token: { ${token}, rootcertbundle: ${await file('pem', 'asecret')} }`,
      /auth\.token\.rootcertbundle: .*pem cannot be used: no certificate in PEM/,
    ],
    [`token: { ${token}, jwks: "https://127.0.0.1:1/keys" }`, undefined], // nothing is fetched
    ['silly: { realm: r, service: s }', undefined],
  ]
  for (const [auth, message] of cases) {
    const path = await configFile(folder.path, `version: 0.1\nstorage: inmemory\nauth: { ${auth} }\n`)
    const { code, stderr } = await command(['check', path])
    assert.equal(code, message === undefined ? 0 : 1, `${auth}: ${stderr}`)
    if (message === undefined) continue
    assert.match(stderr, message)
    assert.match(stderr, /^configuration error: [^\n]+\n$/)
    assert.doesNotMatch(stderr, /asecret/)
  }
  assert.equal(existsSync(missing), false)
})

test('P10: an address that is taken is one line, and exit code 1', async () => {
  const holder = createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  const address = holder.address()
  assert.ok(typeof address === 'object' && address !== null)
  const env = { REGISTRY_HTTP_ADDR: `127.0.0.1:${address.port}`, REGISTRY_STORAGE: 'inmemory' }
  const { code, stderr } = await command(['serve'], env)
  const closed = deferred()
  holder.close(() => closed.resolve())
  await closed.promise
  assert.equal(code, 1)
  assert.match(stderr, /^cannot listen: .*EADDRINUSE.*\n$/)
})

test('P10: an address whose host has no address is one line, and exit code 1', async () => {
  const env = { REGISTRY_HTTP_ADDR: 'nowhere.invalid:0', REGISTRY_STORAGE: 'inmemory' }
  const { code, stderr } = await command(['serve'], env)
  assert.equal(code, 1)
  assert.match(stderr, /^cannot listen: .*nowhere\.invalid\n$/)
})

test('unknown commands and options are refused with exit code 2', async () => {
  for (const args of [['serve', 'a', 'b'], ['--nonsense'], ['check', 'a', 'b']]) {
    assert.equal((await command(args)).code, 2, args.join(' '))
  }
  assert.equal((await command(['--help'])).code, 0)
  assert.match((await command(['--version'])).stdout, /^\d+\.\d+\.\d+/)
})

test('serve mails the lines that it is asked to, and what waits before it ends', async () => {
  await using folder = await temporaryFolder()
  await using server = await startMailServer()
  const options = { smtp: { addr: server.address }, to: ['ops@example.com'], perhour: 1 }
  const config = {
    version: 0.1,
    http: { addr: '127.0.0.1:0' },
    storage: { inmemory: {} },
    log: { hooks: [{ type: 'mail', levels: ['info'], options }] },
  }
  const { code } = await command(['serve', await configFile(folder.path, JSON.stringify(config))])
  assert.equal(code, 0)
  const [first, summary] = server.mails
  assert.match(first?.text ?? '', /^listening\n\nlevel: info\n/)
  assert.match(summary?.text ?? '', /× \[info\] draining\n1 × \[info\] stopped$/)
  assert.equal(server.mails.length, 2)
})

test('P8: the password of an htpasswd file that is made stands in the log, and in no mail about its line', async () => {
  await using folder = await temporaryFolder()
  await using server = await startMailServer()
  const options = { smtp: { addr: server.address }, to: ['ops@example.com'] }
  const config = {
    version: 0.1,
    http: { addr: '127.0.0.1:0' },
    storage: { inmemory: {} },
    auth: { htpasswd: { realm: 'here', path: join(folder.path, 'htpasswd') } },
    log: { hooks: [{ type: 'mail', options }] },
  }
  const { code, stdout } = await command(['serve', await configFile(folder.path, JSON.stringify(config))])
  assert.equal(code, 0)
  const [, password] = /"initial":"([\w-]{32})"/.exec(stdout) ?? []
  assert.ok(password !== undefined, stdout)
  const [mail] = server.mails
  assert.match(mail?.text ?? '', /^the htpasswd file was missing[^]*\ninitial: \[in the log only\]$/)
  assert.ok(!mail?.text.includes(password))
})
