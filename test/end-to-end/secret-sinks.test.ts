// P8, T-95: every place that a running server writes to is searched for secrets, and each is known to have been written to.
import bcrypt from 'bcrypt'
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { basic } from '../auth/fixture.ts'
import { ask, type AskOptions } from '../support/client.ts'
import { startMailServer } from '../support/mail-server.ts'
import { checkout, freePort, startProcess, temporaryFolder, until, type Folder } from '../support/real-parts.ts'
import { reply, scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'

const word = 'canary'
/** How base64 writes it, wherever in a group of three bytes it begins: what all texts that hold it have in common. */
const inBase64 = [0, 1, 2].map((before) => {
  const text = Buffer.from(' '.repeat(before) + word)
    .toString('base64')
    .replace(/=+$/, '')
  return text.slice(Math.ceil((before * 8) / 6), Math.floor(((before + word.length) * 8) / 6))
})
const forms = [word, ...inBase64, Buffer.from(word).toString('hex'), word.replace('c', '%63')]

/** A place, all that it holds, and something of this run that must be there. */
type Sink = readonly [where: string, text: string, witness: RegExp]

function search(sinks: readonly Sink[]): void {
  for (const [where, text, witness] of sinks) {
    assert.match(text, witness, `${where} is not where this run has written to`)
    for (const form of forms) {
      const at = text.indexOf(form)
      assert.ok(at < 0, `${where}: ${text.slice(Math.max(0, at - 300), at + 100)}`)
    }
  }
}

const type = 'application/vnd.oci.image.index.v1+json'
const manifest = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [] })
const blob = 'a blob that is only here: beacon'
const secrets = { 'x-secret': 'canary-upstream-header', 'set-cookie': 'session=canary-upstream-cookie' }

/** It wants a token, redirects to URLs that are signed, and says its secrets wherever it can. */
async function startUpstream(): Promise<ScriptedServer> {
  const server: ScriptedServer = await scriptedServer(({ path, authorization }, response) => {
    const origin = server.url.origin
    if (path === '/token') return reply(response, 200, secrets, { token: 'canary-upstream-token', expires_in: 300 })
    if (path === '/cdn') return reply(response, 200, secrets, blob)
    if (path === '/closed') return reply(response, 403, secrets, '<Error>canary-upstream-xml</Error>')
    if (authorization !== 'Bearer canary-upstream-token') {
      const challenge = `Bearer realm="${origin}/token",service="canary-upstream-service"`
      return reply(response, 401, { ...secrets, 'www-authenticate': challenge }, 'canary-upstream-body')
    }
    if (path.endsWith('/manifests/fine')) return reply(response, 200, { ...secrets, 'content-type': type }, manifest)
    if (path.includes('/blobs/')) {
      const to = path.endsWith(digestOf(blob)) ? 'cdn' : 'closed'
      return reply(response, 307, { ...secrets, location: `${origin}/${to}?X-Amz-Signature=canary-upstream-signature` })
    }
    return reply(response, 500, secrets, { errors: [{ code: 'UNKNOWN', message: 'canary-upstream-message' }] })
  })
  return server
}

/** Ends the server by an error that nobody catches, which holds a URL as libraries put them there. */
const crashing = `export const onPull = async ({ repository }) => {
  if (!repository.endsWith('/crash')) return
  setTimeout(() => { throw new Error('beacon at https://me:canary-crash@cdn.example/x?sig=canary-crash went out') }, 0)
}
`

async function textOf(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  const texts = files.map(async (file) => `${file}\n${await readFile(file, 'latin1')}`)
  return (await Promise.all(texts)).join('\n')
}

const client = {
  authorization: basic('ci', 'canary-client-password'),
  cookie: 'session=canary-client-cookie',
  'proxy-authorization': 'Bearer canary-client-proxy',
  'x-registry-auth': 'canary-client-header',
  referer: 'http://a.example/?canary-client-referer',
  'x-forwarded-for': 'canary-client-address',
  forwarded: 'for=canary-client-address',
}
const query = '?token=canary-client-query&access_token=canary-client-query'

interface Around {
  readonly folder: Folder
  readonly upstream: string
  readonly events: string
  readonly mail: string
  readonly format: string
  readonly port: number
  readonly debugPort: number
}

async function configOf({ folder, upstream, events, mail, format, port, debugPort }: Around): Promise<string> {
  const htpasswd = await folder.write('htpasswd', `ci:${await bcrypt.hash('canary-client-password', 4)}\n`)
  const module = await folder.write('module.mjs', crashing)
  return await folder.write(
    'beacon.yml',
    `version: 0.1
log:
  level: debug
  formatter: ${format}
  hooks:
    - type: mail
      levels: [error, warn, info]
      options:
        smtp: { addr: "${mail}", username: me, password: canary-config-mail }
        from: registry@example.com
        to: [ops@example.com]
        perhour: 1000
storage: { filesystem: { rootdirectory: ${folder.path}/data }, delete: { enabled: true } }
http:
  addr: 127.0.0.1:${port}
  secret: canary-config-secret
  draintimeout: 1s
  debug: { addr: 127.0.0.1:${debugPort}, prometheus: { enabled: true } }
auth:
  htpasswd: { realm: ours, path: ${htpasswd} }
  anonymous: [{ repositories: ['beacon/**'], networks: [127.0.0.0/8] }]
health:
  http: [{ uri: "http://127.0.0.1:1/", headers: { Authorization: [canary-config-health] }, threshold: 1 }]
middleware: { registry: [{ name: module, options: { path: ${module} } }] }
notifications:
  endpoints:
    - { name: told, url: "${events}hook?key=canary-config-hook", headers: { Authorization: [Bearer canary-config-hook] }, cache: true }
    - { name: away, url: "http://127.0.0.1:1/hook?key=canary-config-hook", headers: { X-Key: [canary-config-hook] } }
proxy:
  negative: 0s
  upstreams: { beacon: { url: "${upstream}", username: me, password: canary-config-password, default: true } }
reporting: { bugsnag: { apikey: canary-config-apikey } }
`,
  )
}

const env = {
  REGISTRY_PROXY_UPSTREAMS_BEACON_PASSWORD: 'canary-env-password',
  AWS_SECRET_ACCESS_KEY: 'canary-env-aws',
  OTEL_EXPORTER_OTLP_HEADERS: 'x-token=canary-env-otel',
}

test('a secret is found in every form in which it may be written, and a place that was not written to is told', () => {
  const written = ['a canary', basic('a', 'canary'), basic('ab', 'canary-1'), basic('abc', 'my canary'), '%63anary']
  for (const text of written) assert.throws(() => search([['here', `beacon ${text}`, /beacon/]]), /here: /)
  assert.throws(() => search([['here', 'nothing', /beacon/]]), /not where this run has written to/)
})

for (const format of ['json', 'text']) {
  test(
    `P8, T-95: nothing that a server writes or says holds a secret; its log in ${format}`,
    { timeout: 60_000 },
    async () => {
      await using folder = await temporaryFolder()
      await using upstream = await startUpstream()
      await using events = await scriptedServer((_, response) => reply(response, 200, secrets))
      await using collector = await scriptedServer((_, response) => reply(response, 200, secrets, {}))
      await using mail = await startMailServer()
      const [port, debugPort] = [await freePort(), await freePort()]
      const [up, hook] = [upstream.url.origin, events.url.href]
      const config = await configOf({ folder, upstream: up, events: hook, mail: mail.address, format, port, debugPort })
      const set = { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url.origin }
      const place = { cwd: checkout, env: set }
      await using running = await startProcess(process.execPath, ['src/main.ts', 'serve', config], place)
      await running.waitFor(/listening/)

      const answers: string[] = []
      const get = async (path: string, { headers = client, ...options }: AskOptions = {}): Promise<number> => {
        const { status, headers: sent, body } = await ask(`http://127.0.0.1:${port}${path}`, { headers, ...options })
        answers.push(`${status} ${JSON.stringify(sent)} ${body.toString()}`)
        return status
      }
      assert.equal(await get(`/v2/${query}`), 200)
      const wrong = { ...client, authorization: basic('ci', 'canary-client-wrong') }
      assert.equal(await get(`/v2/${query}`, { headers: wrong }), 401)
      assert.equal(await get(`/v2/beacon/app/manifests/fine${query}`), 200)
      assert.equal(await get(`/v2/beacon/app/blobs/${digestOf(blob)}${query}`), 200)
      assert.equal(await get(`/v2/beacon/app/blobs/${digestOf('closed')}${query}`), 403)
      assert.equal(await get(`/v2/beacon/app/manifests/v500${query}`), 502)
      const push = `/v2/local/beacon/blobs/uploads/${query}&digest=${digestOf(blob)}`
      assert.equal(await get(push, { method: 'POST', body: blob }), 201)

      const debug: string[] = []
      for (const path of ['livez', 'readyz', 'debug/health', 'metrics']) {
        debug.push((await ask(`http://127.0.0.1:${debugPort}/${path}`, { headers: client })).body.toString())
      }
      const bodies = (server: ScriptedServer): string => server.requests.map(({ body }) => body).join('\n')
      await until('events are told', async () => /push/.test(bodies(events)) && /"digest"/.test(bodies(events)))
      const queued = await textOf(join(folder.path, 'data'))
      process.kill(running.pid, 'SIGHUP')
      await running.waitFor(/configuration read again/)
      assert.equal(await get(`/v2/beacon/crash/manifests/fine${query}`), 200)
      assert.equal(await running.ended(), 1)

      const check = await startProcess(process.execPath, ['src/main.ts', 'check', config], place)
      await check.ended()
      const refusedConfig = await folder.write(
        'refused.yml',
        'proxy: { password: canary-config-password, beacon: 1 }\n',
      )
      const refused = await startProcess(process.execPath, ['src/main.ts', 'serve', refusedConfig], place)
      assert.equal(await refused.ended(), 1)
      search([
        ['the log', running.stdout(), /beacon\/app/],
        ['the log of the crash', running.output(), /beacon at https:\/\/cdn\.example/],
        ['standard error', running.output().replace(running.stdout(), ''), /127\.0\.0\.1/],
        ['answers', answers.join('\n'), /"code":/],
        ['the debug listener', debug.join('\n'), /"http:\/\/127\.0\.0\.1:1/],
        ['metrics', debug.at(-1) ?? '', /upstream="beacon"/],
        ['events', bodies(events), /local\/beacon/],
        ['stored files', await textOf(join(folder.path, 'data')), /a blob that is only here: beacon/],
        ['queues', queued, /local\/beacon[^]*"action"|"action"[^]*local\/beacon/],
        ['mail', mail.mails.map(({ headers, text }) => `${headers.join('\n')}\n${text}`).join('\n'), /beacon/],
        ['traces', bodies(collector), /GET manifest/],
        ['check', check.output(), /beacon\.yml is valid/],
        ['a refusal to start', refused.output(), /beacon/],
      ])
      assert.ok(
        upstream.requests.some(
          ({ authorization }) => authorization === basic('me', env.REGISTRY_PROXY_UPSTREAMS_BEACON_PASSWORD),
        ),
      )
      assert.ok(
        events.requests.every(({ url }) => url.includes('canary-config-hook')),
        'the words were there to leak',
      )
    },
  )
}
