// The Dockerfile, as far as it can be known without an engine: what it copies is there, and what it runs does its work.
import assert from 'node:assert/strict'
import { access, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { makeAuthority } from '../support/certificates.ts'
import { checkout, entrepotAt, run, startProcess, temporaryFolder } from '../support/real-parts.ts'

interface Instruction {
  readonly keyword: string
  readonly rest: string
}

const instructions = parseDockerfile(await readFile(join(checkout, 'Dockerfile'), 'utf8'))

function parseDockerfile(text: string): Instruction[] {
  const lines = text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll('\\\n', ' ')
    .split('\n')
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const [keyword = ''] = line.split(' ')
      return { keyword, rest: line.slice(keyword.length).trim() }
    })
}

/** What the last such instruction says: it is the one that counts. */
function last(keyword: string): string {
  const found = instructions.findLast((instruction) => instruction.keyword === keyword)
  assert.ok(found !== undefined, `the Dockerfile has no ${keyword}`)
  return found.rest
}

/** An exec form: a list of words, run without a shell, which would swallow signals. */
function words(text: string): string[] {
  return JSON.parse(text.slice(text.indexOf('['))) as string[]
}

test('everything that the Dockerfile copies is in the checkout and let through by .dockerignore', async () => {
  const ignore = (await readFile(join(checkout, '.dockerignore'), 'utf8')).split('\n')
  assert.ok(ignore.includes('*'))
  const copied = instructions
    .filter(({ keyword, rest }) => keyword === 'COPY' && !rest.startsWith('--from='))
    .flatMap(({ rest }) => rest.split(' ').slice(0, -1))
  assert.ok(copied.includes('src'))
  for (const path of copied) {
    await access(join(checkout, path))
    assert.ok(ignore.includes(`!${path}`), `.dockerignore keeps ${path} out`)
  }
})

test('the container does not run as root', () => {
  assert.equal(last('USER'), 'node')
})

test('what is stored by default lies in the volume', () => {
  assert.equal(last('VOLUME'), '/var/lib/registry')
  assert.ok(instructions.some(({ rest }) => rest.endsWith(' && ln -s /var/lib/registry data')))
})

/** What `ENV` sets, one word each. */
function imageEnvironment(): Record<string, string> {
  const pairs = instructions.filter(({ keyword }) => keyword === 'ENV').flatMap(({ rest }) => rest.split(' '))
  return Object.fromEntries(pairs.map((pair) => [pair.split('=')[0] ?? '', pair.slice(pair.indexOf('=') + 1)]))
}

test(
  'a container starts with what was compiled when its image was made, by the same user',
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder()
    const keywords = instructions.map(({ keyword }) => keyword)
    assert.ok(
      keywords.lastIndexOf('RUN') > keywords.lastIndexOf('USER'),
      'another user compiles than the one who runs it',
    )
    const env = {
      ...imageEnvironment(),
      NODE_COMPILE_CACHE: join(folder.path, 'compiled'),
      REGISTRY_HTTP_ADDR: '127.0.0.1:0',
      PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    }
    const script = last('RUN').replaceAll('/tmp/once', join(folder.path, 'once'))
    await run('sh', ['-c', script], { env, cwd: checkout })

    await using entrepot = await startProcess('sh', ['-c', `exec ${words(last('ENTRYPOINT')).join(' ')}`], {
      env: { ...env, REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: folder.path, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' },
      cwd: checkout,
    })
    await entrepot.waitFor(/"listening"/)
    const said = entrepot.output()
    assert.match(said, / for ESM \S+\/src\/app\.ts was accepted/)
    assert.doesNotMatch(said, /was rejected/)
  },
)

test(
  'the container serves without arguments, and its health check tells whether it does',
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder()
    const env = {
      REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: folder.path,
      REGISTRY_HTTP_ADDR: '127.0.0.1:0',
      REGISTRY_HTTP_PREFIX: '/below/',
    }
    const [node, ...args] = [...words(last('ENTRYPOINT')), ...words(last('CMD'))]
    assert.equal(node, 'node')
    await using entrepot = await entrepotAt(await startProcess(process.execPath, args, { env, cwd: checkout }))

    const [, ...probe] = words(last('HEALTHCHECK'))
    const health = async (): Promise<string> =>
      await run(process.execPath, probe, { env: { REGISTRY_HTTP_ADDR: entrepot.host } })
    await health()
    assert.equal(await entrepot.stop(), 0)
    await assert.rejects(health())
  },
)

test('with a certificate, its health check tells so too', { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder()
  const { certificate, key } = makeAuthority().issue({ names: ['mirror.example'] })
  const env = {
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: folder.path,
    REGISTRY_HTTP_ADDR: '127.0.0.1:0',
    REGISTRY_HTTP_TLS_CERTIFICATE: await folder.write('server.pem', certificate),
    REGISTRY_HTTP_TLS_KEY: await folder.write('server.key', key),
  }
  const [, ...args] = [...words(last('ENTRYPOINT')), ...words(last('CMD'))]
  await using entrepot = await startProcess(process.execPath, args, { env, cwd: checkout })
  const [, host = ''] = await entrepot.waitFor(/"url":"https:\/\/([^"/]+)[^\n]*"listening"/)

  const [, ...probe] = words(last('HEALTHCHECK'))
  const health = async (): Promise<string> => await run(process.execPath, probe, { env: { REGISTRY_HTTP_ADDR: host } })
  await health()
  assert.equal(await entrepot.stop(), 0)
  await assert.rejects(health())
})
