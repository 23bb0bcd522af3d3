// Pulls an image through into a folder, and then deletes it: every step of fill, link, tag and delete, one after the other.
// As a program it is run under strace, which lets its system calls fail or kills it at one of them.
import { collect } from '../../src/bytes/stream.ts'
import { descriptorCache } from '../../src/cache/descriptors.ts'
import { Facts } from '../../src/cache/facts.ts'
import { openFactStore } from '../../src/cache/store.ts'
import { filesystemDriver } from '../../src/drivers/filesystem.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseConfirmation } from '../../src/proxy/freshness.ts'
import { ProxyRegistry } from '../../src/proxy/registry.ts'
import type { Upstream } from '../../src/proxy/selection.ts'
import type { Trace } from '../../src/registry/call.ts'
import { openLocalRegistry } from '../../src/storage/registry.ts'
import { cannedUpstream, image } from './canned-upstream.ts'
import { recordingLogger } from './recording-logger.ts'

/** What the log says when a fill has come to its end, one way or the other. */
const ends: ReadonlySet<string> = new Set(['fill stored', 'fill failed', 'blob passed through, not stored'])

/** Says `right …` or `WRONG …` for each step that has an answer, and `end` at the end. */
export async function pullAndDelete(root: string, say: (line: string) => void): Promise<void> {
  const { logger, until } = recordingLogger()
  const facts = openFactStore({ kind: 'memory' }, logger)
  const driver = filesystemDriver({ rootDirectory: root })
  const descriptors = descriptorCache(facts)
  const store = openLocalRegistry({ driver, descriptors, deleteEnabled: true, logger })
  const upstream: Upstream = {
    name: undefined,
    aliases: [],
    default: true,
    library: false,
    host: 'canned.example',
    freshness: 60_000,
    tags: [],
    onGone: 'serve',
    onDenied: 'serve',
    reserve: 0,
    source: cannedUpstream(),
  }
  await using proxy = new ProxyRegistry(store, {
    upstreams: [upstream],
    hosted: [],
    offline: false,
    confirmations: new Facts(facts, 'tag', parseConfirmation),
    patience: 0,
    negative: 0,
    fill: { connections: 1, minSize: 2 ** 26, retries: 0, patience: 1000 },
    logger,
  })
  const { name, tag, manifest, blobs } = image
  const { tags, manifests, blobs: layers } = proxy.repository(name)
  const step = async (what: string, task: () => Promise<boolean>): Promise<void> => {
    const isRight = await task().catch(() => undefined)
    if (isRight !== undefined) say(`${isRight ? 'right' : 'WRONG'} ${what}`)
  }
  await step('tag', async () => (await tags.resolve(tag)).digest === manifest.digest)
  await step('manifest', async () => digestOf((await manifests.get(manifest.digest)).bytes) === manifest.digest)
  for (const { digest, bytes } of blobs) {
    await step(digest, async () => {
      const trace: Trace = {}
      const { body } = await layers.open(digest, { trace })
      const isRight = digestOf(await collect(body, bytes.byteLength + 1)) === digest
      if (trace.from === 'fill') await until(({ digest: which, msg }) => which === digest && ends.has(String(msg)))
      return isRight
    })
  }
  const removable = proxy.removable(name)
  await step('untag and delete', async () => {
    await removable.tags.delete(tag)
    await removable.manifests.delete(manifest.digest)
    return true
  })
  say('end')
}

if (import.meta.main) {
  await pullAndDelete(process.argv[2] ?? '', (line) => void process.stdout.write(`${line}\n`))
}
