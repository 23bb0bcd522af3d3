// Whole images, with the clients that people have: from the upstream, and from the mirror's own storage.
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { entrepot } from '../test/support/outside/mirrors.ts'
import { skopeoCopy, startContainerd } from '../test/support/real-clients.ts'
import { without } from '../test/support/real-parts.ts'
import { Arena, mebibyte, quiet, type Bench } from './arena.ts'
import type { RowId } from './rows.ts'

const registry = 'bench.test'

export async function images(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  await addImage(arena, bench.scale.isQuick ? [1, 8] : [1, 8, 32, 64])
  const clients: readonly { program: string; pull: Pull; cold: RowId; warm: RowId }[] = [
    { program: 'skopeo', pull: bySkopeo, cold: 'skopeoCold', warm: 'skopeoWarm' },
    { program: 'containerd', pull: byContainerd, cold: 'containerdCold', warm: 'containerdWarm' },
  ]
  const programs = [['entrepot', entrepot] as const, ...bench.peers]
  for (const { program, pull, cold, warm } of clients) {
    const missing = without(program)
    if (missing !== false) {
      bench.say(`no pulls by ${program}: ${missing}`)
      continue
    }
    for (let run = 0; run < bench.scale.runs; run += 1) {
      for (const [column, mirrorProgram] of programs) {
        const mirror = await arena.mirror(mirrorProgram, { name: registry })
        await quiet(mirror.process.pid)
        bench.results.note(cold, column, await pull(mirror.url))
        await quiet(mirror.process.pid)
        bench.results.note(warm, column, await pull(mirror.url))
        await mirror.process.stop()
      }
    }
  }
}

/** Resolves with the seconds that a client with an empty storage needs. */
type Pull = (url: string) => Promise<number>

async function bySkopeo(url: string): Promise<number> {
  const began = performance.now()
  await skopeoCopy(`${new URL(url).host}/app:v1`)
  return (performance.now() - began) / 1000
}

async function byContainerd(url: string): Promise<number> {
  await using containerd = await startContainerd({ [registry]: url })
  const began = performance.now()
  await containerd.pull(`${registry}/app:v1`)
  return (performance.now() - began) / 1000
}

/** One that clients can unpack, with layers of so many MiB. */
async function addImage({ origin, folder }: Arena, sizes: readonly number[]): Promise<void> {
  const layers: { digest: string; size: number }[] = []
  const put = async (name: string, bytes: Buffer): Promise<{ digest: string; size: number }> => {
    const file = join(folder.path, name)
    await writeFile(file, bytes)
    return { digest: await origin.addFile('app', file), size: bytes.length }
  }
  for (const size of sizes) layers.push(await put(`layer-${size}`, tarOf(`file-${size}`, randomBytes(size * mebibyte))))
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) }
  const config = await put('config', Buffer.from(JSON.stringify({ architecture, os: 'linux', config: {}, rootfs })))
  const kind = 'application/vnd.oci.image'
  const manifest = {
    schemaVersion: 2,
    mediaType: `${kind}.manifest.v1+json`,
    config: { mediaType: `${kind}.config.v1+json`, ...config },
    layers: layers.map((layer) => ({ mediaType: `${kind}.layer.v1.tar`, ...layer })),
  }
  await origin.addDocument('app', 'v1', JSON.stringify(manifest))
}

/** An archive of one file (POSIX ustar). */
function tarOf(name: string, bytes: Buffer): Buffer {
  const head = Buffer.alloc(512)
  const put = (at: number, text: string): void => void head.write(text, at, 'latin1')
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`
  put(0, name)
  put(100, octal(0o644, 7))
  put(108, octal(0, 7))
  put(116, octal(0, 7))
  put(124, octal(bytes.length, 11))
  put(136, octal(0, 11))
  put(148, ' '.repeat(8)) // what the sum is made with
  put(156, '0')
  put(257, 'ustar\u000000')
  put(
    148,
    `${octal(
      head.reduce((sum, byte) => sum + byte, 0),
      6,
    )} `,
  )
  const padding = Buffer.alloc((512 - (bytes.length % 512)) % 512)
  return Buffer.concat([head, bytes, padding, Buffer.alloc(1024)])
}
