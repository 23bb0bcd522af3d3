// Secrets of the operator, of clients and of upstreams, each with a word of its own: where that is found later, it has leaked.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { ask, type Answer } from '../support/client.ts'
import { checkout, entrepotAt, startProcess, temporaryFolder } from '../support/real-parts.ts'
import { reply, scriptedServer, type ReceivedRequest, type ScriptedServer } from '../support/scripted-server.ts'

const manifest = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] }),
)
const blob = Buffer.from('a small blob')
const answers = ['refused', 'signed', 'denied'] as const
const digestNamed = (answer: string): string => digestOf(`blob that is ${answer}`)

/** A registry that wants a token, and whose every failure is full of secrets. */
async function startUpstream(): Promise<ScriptedServer> {
  const secrets = { 'x-secret': 'canary-upstream-header', 'set-cookie': 'session=canary-upstream-cookie' }
  const server: ScriptedServer = await scriptedServer((request, response) => {
    const { path, authorization } = request
    const origin = server.url.origin
    const challenge = `Bearer realm="${origin}/token",service="canary-upstream-service",error="canary-upstream-error"`
    const failure = {
      errors: [{ code: 'DENIED', message: 'canary-upstream-message', detail: 'canary-upstream-detail' }],
    }
    if (path === '/token') {
      if (request.query.getAll('scope').some((scope) => scope.includes(':broken:'))) {
        return reply(response, 400, secrets, { error: 'canary-upstream-token-error' })
      }
      return reply(response, 200, secrets, { token: 'canary-upstream-token', expires_in: 300 })
    }
    if (path === '/storage') return reply(response, 403, secrets, '<Error>canary-upstream-xml</Error>')
    if (authorization !== 'Bearer canary-upstream-token') {
      return reply(response, 401, { ...secrets, 'www-authenticate': challenge }, failure)
    }
    if (path.endsWith('/manifests/fine')) {
      return reply(response, 200, { ...secrets, 'content-type': 'application/vnd.oci.image.index.v1+json' }, manifest)
    }
    if (path.endsWith(digestOf(blob))) return reply(response, 200, secrets, blob)
    if (path.endsWith(digestNamed('refused'))) {
      return reply(response, 307, {
        ...secrets,
        location: 'http://127.0.0.1:1/x?X-Amz-Signature=canary-upstream-signature',
      })
    }
    if (path.endsWith(digestNamed('signed'))) {
      return reply(response, 307, {
        ...secrets,
        location: `${origin}/storage?X-Amz-Signature=canary-upstream-signature`,
      })
    }
    const status = Number(/(?:v|other)(\d{3})/.exec(path)?.[1] ?? 403)
    return reply(response, status, { ...secrets, 'retry-after': '1' }, failure)
  })
  return server
}

/** All that a client may send of its own, in every place that it has. */
const clientHeaders = {
  authorization: `Basic ${Buffer.from('someone:canary-client-password').toString('base64')}`,
  cookie: 'session=canary-client-cookie',
  'proxy-authorization': 'Bearer canary-client-proxy',
  'x-registry-auth': 'canary-client-header',
  'user-agent': 'canary-client-agent',
  referer: 'http://a.example/?canary-client-referer',
}

const forms = [clientHeaders.authorization.slice('Basic '.length), 'canary']

function assertNone(where: string, text: string): void {
  for (const form of forms)
    assert.ok(!text.includes(form), `${where}: ${text.slice(Math.max(0, text.indexOf(form) - 300))}`)
}

async function everyFile(folder: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  return new Map(await Promise.all(files.map(async (file) => [file, await readFile(file)] as const)))
}

test('T-93, T-95, P8: no secret is found in a log, an answer, a stored file, or with somebody it is not for', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  await using closed = await scriptedServer(() => {})
  const data = join(folder.path, 'data')
  const config = await folder.write(
    'config.yml',
    `version: 0.1
log: { level: debug }
storage: { filesystem: { rootdirectory: ${data} }, delete: { enabled: true }, cache: { blobdescriptor: redis } }
http: { addr: 127.0.0.1:0, draintimeout: 0s, secret: canary-config-secret, relativeurls: true }
redis: { addr: "${closed.host}", password: canary-config-redis, dialtimeout: 100ms }
proxy:
  negative: 0s
  upstreams:
    up: { url: "${upstream.url.origin}", username: me, password: canary-config-password, default: true }
`,
  )
  const env = { REGISTRY_HTTP_SECRET: 'canary-env-secret', AWS_SECRET_ACCESS_KEY: 'canary-env-other' }
  const args = ['src/main.ts', 'serve', config]
  const running = await startProcess(process.execPath, args, { cwd: checkout, env })
  const said: Answer[] = []
  {
    await using entrepot = await entrepotAt(running)
    const query = '?token=canary-client-query&access_token=canary-client-query'
    const get = async (path: string): Promise<Answer> => {
      const answer = await ask(`${entrepot.url}${path}${query}`, { headers: clientHeaders })
      said.push(answer)
      return answer
    }
    assert.equal((await get('/v2/app/manifests/fine')).status, 200)
    assert.ok((await get(`/v2/app/blobs/${digestOf(blob)}`)).body.equals(blob))
    for (const answer of answers) assert.ok((await get(`/v2/app/blobs/${digestNamed(answer)}`)).status >= 400)
    for (const status of [400, 401, 403, 404, 429, 500, 503]) {
      assert.ok((await get(`/v2/app/manifests/v${status}`)).status >= 400)
      assert.ok((await get(`/v2/other${status}/tags/list`)).status >= 400)
    }
    assert.ok((await get('/v2/broken/manifests/fine')).status >= 400)
    assert.ok((await get('/v2/app/manifests/a%0d%0aFAKE')).status >= 400)
    const begun = await ask(`${entrepot.url}/v2/local/app/blobs/uploads/${query}`, {
      method: 'POST',
      headers: clientHeaders,
    })
    assert.equal(begun.status, 202)
    const location = begun.headers.location ?? ''
    const put = { method: 'PUT', body: blob, headers: clientHeaders }
    assert.equal((await ask(`${entrepot.url}${location}&digest=${digestOf(blob)}`, put)).status, 201)
  }
  for (const { headers, body } of said) assertNone('an answer', `${JSON.stringify(headers)}${body.toString()}`)
  assertNone('the log', running.output())
  assert.match(running.output(), /"status":50[24]/, 'there were failures to tell of')
  for (const line of running.stdout().split('\n')) assert.ok(Buffer.byteLength(line) <= 8192)
  for (const [file, bytes] of await everyFile(data)) assertNone(file, file + bytes.toString('latin1'))
  const asText = ({ method, url, headers, body }: ReceivedRequest): string =>
    `${method} ${url} ${JSON.stringify(headers)} ${body}`
  for (const request of upstream.requests) {
    const text = asText(request).replaceAll(/canary-upstream-(?:token|service|signature)/g, '') // its own, back to it
    assertNone(`upstream, ${request.url}`, text)
  }
  const own = Buffer.from('me:canary-config-password').toString('base64')
  assert.ok(
    upstream.requests.some(({ authorization }) => authorization === `Basic ${own}`),
    'the word was there to leak',
  )
})
