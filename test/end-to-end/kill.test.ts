// A server that is killed in the middle of a fill, and started again on the same folder: what it had is not fetched twice.
import assert from 'node:assert/strict'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { open, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { lightPull } from '../support/light-client.ts'
import { startEntrepot, temporaryFolder, until, type Entrepot, type Folder } from '../support/real-parts.ts'
import { scriptedServer, type ScriptedServer } from '../support/scripted-server.ts'

const size = 8 * 1024 * 1024
const heldAt = 6 * 1024 * 1024
const bytes = randomBytes(size)
const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const path = `/v2/app/blobs/${digest}`

/** Has one blob, whose first transfer it holds at a byte; the next ones are not held. */
async function startOrigin(): Promise<ScriptedServer> {
  let isHeld = true
  return await scriptedServer((request, response) => {
    if (request.path !== path) return void response.writeHead(request.path === '/v2/' ? 200 : 404).end()
    const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
    const start = Number(from ?? 0)
    const range = from === undefined ? {} : { 'content-range': `bytes ${start}-${size - 1}/${size}` }
    response.writeHead(from === undefined ? 200 : 206, { 'content-length': size - start, ...range })
    if (!isHeld) return void response.end(bytes.subarray(start))
    isHeld = false
    response.write(bytes.subarray(start, heldAt))
  })
}

async function startMirror(folder: Folder, origin: ScriptedServer): Promise<Entrepot> {
  return await startEntrepot(
    folder,
    `version: 0.1
storage: { filesystem: { rootdirectory: ${folder.path}/data } }
http: { addr: 127.0.0.1:0 }
proxy: { remoteurl: "${origin.url.origin}", timeouts: { idle: 5m } }
`,
  )
}

async function filesIn(folder: Folder, name: string): Promise<string[]> {
  const parent = join(folder.path, 'data/entrepot', name)
  const names = await readdir(parent).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names.map((file) => join(parent, file))
}

/** Kills a server that has written a part of the blob; resolves with the file that it has left. */
async function killInMidFill(folder: Folder, origin: ScriptedServer): Promise<{ path: string; size: number }> {
  await using entrepot = await startMirror(folder, origin)
  const client = lightPull(entrepot.url + path)
  await client.firstByte
  await until('a part of the blob in its file', async () => {
    const [file] = await filesIn(folder, 'fills')
    return file !== undefined && (await stat(file)).size > size / 4
  })
  assert.equal(await entrepot.process.stop('SIGKILL'), null)
  assert.equal((await client.done).complete, false)
  const [file = '', ...others] = await filesIn(folder, 'fills')
  assert.deepEqual(others, [])
  return { path: file, size: (await stat(file)).size }
}

async function flipFirstByte(file: string): Promise<void> {
  await using handle = await open(file, 'r+')
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 0)
  await handle.write(Buffer.of(buffer.readUInt8() ^ 1), 0, 1, 0)
}

test('P5: killed in mid-fill, a new process goes on by Range from the byte that was reached', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const left = await killInMidFill(folder, origin)

  await using entrepot = await startMirror(folder, origin)
  const answer = await lightPull(entrepot.url + path).done
  assert.deepEqual([answer.status, answer.complete, answer.digest], [200, true, digest])
  const asked = origin.requests.filter((request) => request.path === path)
  assert.deepEqual(
    asked.map(({ method, headers }) => [method, headers.range]),
    [
      ['GET', undefined],
      ['GET', `bytes=${left.size}-`],
    ],
  )
  await until('the file in its place', async () => (await filesIn(folder, 'fills')).length === 0)
})

test('P5: what was left is proven with the rest: bytes that were damaged meanwhile are never answered', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const left = await killInMidFill(folder, origin)
  await flipFirstByte(left.path)

  await using entrepot = await startMirror(folder, origin)
  const broken = await lightPull(entrepot.url + path).done
  assert.equal(broken.complete, false)
  const answer = await lightPull(entrepot.url + path).done
  assert.deepEqual([answer.status, answer.complete, answer.digest], [200, true, digest])
})

test('T-42, P9: nothing of a dead process stays, once it is old', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const left = await killInMidFill(folder, origin)
  const anHourAgo = new Date(Date.now() - 3_600_000)
  await utimes(left.path, anHourAgo, anHourAgo)

  await using entrepot = await startMirror(folder, origin)
  await entrepot.process.waitFor(/temporary files swept/)
  assert.deepEqual([...(await filesIn(folder, 'fills')), ...(await filesIn(folder, 'tmp'))], [])
  assert.equal((await lightPull(entrepot.url + path).done).digest, digest)
  assert.equal(origin.requests.at(-1)?.headers.range, undefined)
})

test('P9, T-42: at start goes at once what is of no use; the part that is of use stays, and all that a living server has', async () => {
  await using folder = await temporaryFolder()
  await using origin = await startOrigin()
  const left = await killInMidFill(folder, origin)
  for (const file of await filesIn(folder, 'tmp')) await rm(file) // what it may have been trying the disk with
  const [, owner = ''] = basename(left.path).split('.')
  const id = randomUUID()
  const useless = [
    join(folder.path, 'data/entrepot/tmp', `${owner}.${id}`),
    left.path.replace(/[^.]+$/, id), // a shorter part of the same blob
    join(folder.path, 'data/entrepot/fills', `sha256-${'0'.repeat(64)}.${owner}.${id}`),
  ]
  for (const [nth, file] of useless.entries()) await writeFile(file, 'x'.repeat((nth + 1) % 3))

  await using first = await startMirror(folder, origin)
  await first.process.waitFor(/"files":3,[^\n]*temporary files swept/)
  assert.deepEqual([...(await filesIn(folder, 'fills')), ...(await filesIn(folder, 'tmp'))], [left.path])

  const released = Promise.withResolvers<void>()
  await using slow = await scriptedServer(async (request, response) => {
    if (request.path !== path) return void response.writeHead(request.path === '/v2/' ? 200 : 404).end()
    response.writeHead(206, {
      'content-length': size - left.size,
      'content-range': `bytes ${left.size}-${size - 1}/${size}`,
    })
    response.flushHeaders()
    await released.promise
    response.end(bytes.subarray(left.size))
  })
  await first.stop()
  const [temporary = ''] = useless
  await writeFile(temporary, 'x')
  await using filling = await startMirror(folder, slow)
  await filling.process.waitFor(/"files":1,[^\n]*temporary files swept/)
  const client = lightPull(filling.url + path)
  await client.firstByte // of what was left: the rest is held
  const [taken = ''] = await filesIn(folder, 'fills')
  assert.notEqual(taken, left.path)
  await writeFile(temporary, 'x')
  await using starting = await startMirror(folder, slow)
  await starting.process.waitFor(/"files":1,[^\n]*temporary files swept/)
  assert.deepEqual(await filesIn(folder, 'fills'), [taken])
  released.resolve()
  assert.equal((await client.done).digest, digest)
  const links = join(folder.path, 'data/docker/registry/v2/repositories/app/_layers/sha256')
  await until('the blob is linked', async () => (await readdir(links).catch(() => [])).length === 1)
  assert.equal((await lightPull(starting.url + path).done).digest, digest)
  assert.equal(slow.log().filter((line) => line.startsWith('GET') && line.includes('blobs')).length, 1)
})
