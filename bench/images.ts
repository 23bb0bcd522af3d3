// Whole images, with the clients that people have: from the upstream, and from the mirror's own storage.
import { skopeoPull, startContainerd } from '../test/support/real-clients.ts'
import { temporaryFolder, without } from '../test/support/real-parts.ts'
import type { Part } from '../test/support/outside/objects.ts'
import { Arena, mebibyte, quiet, type Bench } from './arena.ts'
import type { RowId } from './rows.ts'

const registry = 'bench.test'

export async function images(bench: Bench): Promise<void> {
  await using arena = await Arena.open(bench)
  const sizes = bench.scale.isQuick ? [1, 8] : [1, 8, 32, 64]
  const clients: readonly { program: string; pull: Pull; cold: RowId; warm: RowId }[] = [
    { program: 'skopeo', pull: bySkopeo, cold: 'skopeoCold', warm: 'skopeoWarm' },
    { program: 'containerd', pull: byContainerd, cold: 'containerdCold', warm: 'containerdWarm' },
  ]
  const mirrors = await arena.mirrors({ name: registry })
  let made = 0
  for (const { program, pull, cold, warm } of clients) {
    const missing = without(program)
    if (missing !== false) {
      bench.say(`no pulls by ${program}: ${missing}`)
      continue
    }
    for (const { url } of mirrors) await pull(arena, url, await addImage(arena, ++made, [1]))
    await arena.interleave(mirrors, async ({ column, url, pid }) => {
      const image = await addImage(arena, ++made, sizes)
      bench.results.note(cold, column, await pull(arena, url, image))
      await quiet(pid)
      bench.results.note(warm, column, await pull(arena, url, image))
    })
  }
}

/** Resolves with the seconds that a client with an empty storage needs for an image. */
type Pull = (arena: Arena, url: string, image: string) => Promise<number>

async function bySkopeo(_arena: Arena, url: string, image: string): Promise<number> {
  await using folder = await temporaryFolder()
  const began = performance.now()
  await skopeoPull(`${new URL(url).host}/${image}`, folder)
  return (performance.now() - began) / 1000
}

async function byContainerd({ tls }: Arena, url: string, image: string): Promise<number> {
  await using containerd = await startContainerd({ [registry]: url }, tls?.authority)
  const began = performance.now()
  await containerd.pull(`${registry}/${image}`)
  return (performance.now() - began) / 1000
}

/** One that nobody has yet and that clients can unpack, with layers of so many MiB. Resolves with its name. */
async function addImage({ origin }: Arena, number: number, sizes: readonly number[]): Promise<string> {
  const layers: Part[] = []
  for (const size of sizes) layers.push(await origin.addArchive('app', `file-${size}`, size * mebibyte))
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) }
  const config = await origin.addText('app', JSON.stringify({ architecture, os: 'linux', config: {}, rootfs }))
  const kind = 'application/vnd.oci.image'
  const manifest = {
    schemaVersion: 2,
    mediaType: `${kind}.manifest.v1+json`,
    config: { mediaType: `${kind}.config.v1+json`, ...config },
    layers: layers.map((layer) => ({ mediaType: `${kind}.layer.v1.tar`, ...layer })),
  }
  await origin.addDocument('app', `v${number}`, JSON.stringify(manifest))
  return `app:v${number}`
}
