// P6, T-36, T-37: whatever has become of a stored file, no answer is completed with wrong bytes, and the upstream's bytes
// take its place without an operator.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { parseRepositoryName, parseTag, type Tag } from '../../src/oci/reference.ts'
import { blobPath, linkPath, tagCurrentPath } from '../../src/storage/layout.ts'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'
import { pull, type Pulled } from '../support/client.ts'
import { randomBlob, startOrigin, type Origin } from '../support/origin.ts'

const local = parseRepositoryName('up/org/app')
const moments = ['running', 'restarted'] as const

/** Even half of it is larger than what is read whole before it is answered. */
const large = 200_000

interface CachedImage {
  readonly tag: Tag
  readonly manifest: Digest
  readonly config: Digest
  readonly layer: Digest
}

/** What the log says when a request for a blob has come to its end, one way or another. */
const ends: ReadonlySet<string> = new Set([
  'fill stored',
  'fill failed',
  'blob passed through, not stored',
  'transfer broke, it goes on',
])

/** A mirror on a folder that holds a number of whole images, and its upstream. */
class Cached implements AsyncDisposable {
  readonly origin: Origin
  readonly images: readonly CachedImage[]
  readonly #resources: AsyncDisposableStack
  readonly #root: string
  #app: AppUnderTest

  private constructor(
    origin: Origin,
    images: readonly CachedImage[],
    root: string,
    app: AppUnderTest,
    resources: AsyncDisposableStack,
  ) {
    this.origin = origin
    this.images = images
    this.#root = root
    this.#app = app
    this.#resources = resources
  }

  static async make(count: number): Promise<Cached> {
    await using resources = new AsyncDisposableStack()
    const folder = resources.use(await temporaryFolder())
    const origin = resources.use(await startOrigin())
    const images: CachedImage[] = []
    for (let index = 0; index < count; index++) {
      const tag = parseTag(`v${index}`)
      const { manifest, config, layers } = await origin.addImage('org/app', tag, [randomBlob(large).bytes])
      images.push({ tag, manifest, config, layer: layers[0] ?? assert.fail('no layer') })
    }
    const app = await startMirror(folder.path, origin)
    const cached = new Cached(origin, images, folder.path, app, resources.move())
    for (const image of images) await cached.assertRight(image)
    return cached
  }

  image(index: number): CachedImage {
    return this.images[index] ?? assert.fail('no such image')
  }

  /** All of an image can be had. */
  async assertRight({ tag, manifest, config, layer }: CachedImage, what?: string): Promise<void> {
    for (const [path, digest] of [
      [`manifests/${tag}`, manifest],
      [`manifests/${manifest}`, manifest],
      [`blobs/${config}`, config],
      [`blobs/${layer}`, layer],
    ] as const) {
      assertRight(await this.pull(path), digest, `${what}: ${path}`)
    }
  }

  /** Pulls, and waits until what was fetched for it is stored. */
  async pull(path: string): Promise<Pulled> {
    const answer = await pull(`${this.#app.url}/v2/org/app/${path}`)
    while (this.#fills() < this.#fetches()) await new Promise(setImmediate)
    return answer
  }

  /** Fills of this process that have ended. */
  #fills(): number {
    return this.#app.lines.filter(({ msg }) => ends.has(String(msg))).length
  }

  #fetches(): number {
    return this.origin.seen.filter((request) => /^GET .*\/blobs\//.test(request)).length
  }

  async restart(): Promise<void> {
    this.origin.seen.length = 0
    await this.#app[Symbol.asyncDispose]()
    this.#app = await startMirror(this.#root, this.origin)
  }

  /** Where a path of the driver is. */
  place(path: string): string {
    return join(this.#root, path)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app[Symbol.asyncDispose]()
    await this.#resources[Symbol.asyncDispose]()
  }
}

async function startMirror(root: string, origin: Origin): Promise<AppUnderTest> {
  return await startAppUnderTest({
    storage: { filesystem: { rootdirectory: root } },
    proxy: {
      upstreams: { up: { url: origin.url, default: true } },
      freshness: '1h',
      timeouts: { connect: '2s', firstbyte: '2s', idle: '2s' },
    },
  })
}

function isRight({ status, digest, complete }: Pulled, expected: Digest): boolean {
  return status === 200 && complete && digest === expected
}

function assertRight(answer: Pulled, expected: Digest, what: string): void {
  assert.ok(isRight(answer, expected), `${what}: ${JSON.stringify(answer)}`)
}

async function flip(file: string, where: (size: number) => number): Promise<void> {
  const bytes = await readFile(file)
  const at = where(bytes.byteLength)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await writeFile(file, bytes)
}

interface Damage {
  readonly what: string
  readonly make: (file: string) => Promise<unknown>
  /** Whether it shows before the first byte of a large blob, to a process that knows its size and to one that does not. */
  readonly shows: { readonly running: boolean; readonly restarted: boolean }
}

const hidden = { running: false, restarted: false }
const bySize = { running: true, restarted: false }
const plain = { running: true, restarted: true }

const damages: readonly Damage[] = [
  { what: 'changed at its beginning', make: async (file) => await flip(file, () => 0), shows: hidden },
  { what: 'changed in the middle', make: async (file) => await flip(file, (size) => size >> 1), shows: hidden },
  { what: 'changed at its end', make: async (file) => await flip(file, (size) => size - 1), shows: hidden },
  {
    what: 'cut short',
    make: async (file) => await truncate(file, Math.ceil((await readFile(file)).byteLength / 2)),
    shows: bySize,
  },
  { what: 'empty', make: async (file) => await truncate(file, 0), shows: plain },
  {
    what: 'longer',
    make: async (file) => await writeFile(file, Buffer.concat([await readFile(file), Buffer.from('!')])),
    shows: bySize,
  },
  { what: 'gone', make: async (file) => await rm(file), shows: plain },
  {
    what: 'gone with its folder',
    make: async (file) => await rm(dirname(file), { recursive: true }),
    shows: plain,
  },
  {
    what: 'a folder',
    make: async (file) => {
      await rm(file)
      await mkdir(join(file, 'inner'), { recursive: true })
    },
    shows: plain,
  },
  {
    what: 'a link to the right bytes',
    make: async (file) => {
      await rename(file, `${file}.moved`)
      await symlink(`${file}.moved`, file)
    },
    shows: plain,
  },
  {
    what: 'a link to wrong bytes',
    make: async (file) => {
      await rm(file)
      await writeFile(`${file}.wrong`, 'wrong')
      await symlink(`${file}.wrong`, file)
    },
    shows: plain,
  },
  {
    what: 'a link to nothing',
    make: async (file) => {
      await rm(file)
      await symlink(`${file}.nothing`, file)
    },
    shows: plain,
  },
  {
    what: 'a FIFO',
    make: async (file) => {
      await rm(file)
      await promisify(execFile)('mkfifo', [file])
    },
    shows: plain,
  },
]

/** What is damaged of an image, and what is asked for then. */
const targets: readonly (readonly [
  what: string,
  of: (image: CachedImage) => Digest,
  asked: (image: CachedImage) => string,
])[] = [
  ['a large blob', ({ layer }) => layer, ({ layer }) => `blobs/${layer}`],
  ['a small blob', ({ config }) => config, ({ config }) => `blobs/${config}`],
  ['a manifest', ({ manifest }) => manifest, ({ manifest }) => `manifests/${manifest}`],
  ['the manifest of a tag', ({ manifest }) => manifest, ({ tag }) => `manifests/${tag}`],
]

for (const [target, digestIn, pathIn] of targets) {
  for (const moment of moments) {
    const isInMemory = target.includes('manifest') && moment === 'running'
    if (isInMemory && target !== 'a manifest') continue // asked for by either name, it is the same in memory

    test(`T-36, P6: ${target} that is damaged under a ${moment} process is never completed wrong, and heals`, async () => {
      await using cached = await Cached.make(damages.length)
      if (moment === 'restarted') await cached.restart()
      for (const [index, { what, make, shows }] of damages.entries()) {
        const image = cached.image(index)
        await make(cached.place(blobPath(digestIn(image))))
        const first = await cached.pull(pathIn(image))
        const isHidden = target === 'a large blob' && !shows[moment]
        if (isHidden) assert.equal(first.complete, false, `${what}: ${JSON.stringify(first)}`)
        else assertRight(first, digestIn(image), `${what}: the same request`)
        assertRight(await cached.pull(pathIn(image)), digestIn(image), `${what}: the next request`)
      }
      await cached.restart()
      if (!isInMemory) await cached.origin.stop()
      for (const [index, { what }] of damages.entries()) await cached.assertRight(cached.image(index), what)
    })

    test(`T-36, P10: ${target} that is damaged under a ${moment} process, with the upstream down, is a 5xx`, async () => {
      await using cached = await Cached.make(damages.length)
      if (moment === 'restarted') await cached.restart()
      await cached.origin.stop()
      for (const [index, { what, make }] of damages.entries()) {
        const image = cached.image(index)
        await make(cached.place(blobPath(digestIn(image))))
        for (let time = 0; time < 3; time++) {
          const answer = await cached.pull(pathIn(image))
          const isCut = time === 0 && answer.status === 200 && !answer.complete
          if (isInMemory) assertRight(answer, digestIn(image), what)
          else assert.ok(answer.status >= 500 || isCut, `${what}: ${JSON.stringify(answer)}`)
        }
      }
    })
  }
}

const linkDamages: readonly (readonly [what: string, make: (file: string, image: CachedImage) => Promise<unknown>])[] =
  [
    ['missing', async (file) => await rm(file)],
    ['missing with its folder', async (file) => await rm(dirname(file), { recursive: true })],
    ['empty', async (file) => await truncate(file, 0)],
    ['garbage', async (file) => await writeFile(file, randomBlob(71).bytes)],
    ['too long', async (file) => await writeFile(file, randomBlob(100_000).bytes)],
    ['naming another blob', async (file, { config }) => await writeFile(file, config)],
    ['naming what is nowhere', async (file) => await writeFile(file, digestOf('nowhere'))],
    ['naming by another algorithm', async (file) => await writeFile(file, digestOf('nowhere', 'sha512'))],
    [
      'a folder',
      async (file) => {
        await rm(file)
        await mkdir(file)
      },
    ],
  ]

const links: readonly (readonly [
  what: string,
  path: (image: CachedImage) => string,
  link: (image: CachedImage) => Digest,
])[] = [
  ['a link of a blob', ({ layer }) => linkPath(local, 'blobs', layer), ({ layer }) => layer],
  ['a link of a manifest', ({ manifest }) => linkPath(local, 'manifests', manifest), ({ manifest }) => manifest],
  ['a tag', ({ tag }) => tagCurrentPath(local, tag), ({ manifest }) => manifest],
]

for (const [link, pathIn, linkedIn] of links) {
  test(`T-37: ${link} that is damaged counts as none, and is mended by a pull`, async () => {
    for (const moment of moments) {
      await using cached = await Cached.make(linkDamages.length)
      if (moment === 'restarted') await cached.restart()
      for (const [index, [what, make]] of linkDamages.entries()) {
        const image = cached.image(index)
        await make(cached.place(pathIn(image)), image)
        await cached.assertRight(image, `${moment}: ${what}`)
      }
      await cached.restart() // a running process believes a link that it has seen for a second more
      for (const [index, [what]] of linkDamages.entries()) {
        const image = cached.image(index)
        await cached.assertRight(image, what)
        assert.equal(await readFile(cached.place(pathIn(image)), 'utf8'), linkedIn(image), `${moment}: ${what}`)
      }
      await cached.restart()
      await cached.origin.stop()
      for (const image of cached.images) await cached.assertRight(image, moment)
    }
  })

  test(`P10: ${link} that is damaged, with the upstream down, is right all the same or a 5xx`, async () => {
    await using cached = await Cached.make(linkDamages.length)
    await cached.restart()
    await cached.origin.stop()
    for (const [index, [what, make]] of linkDamages.entries()) {
      const image = cached.image(index)
      await make(cached.place(pathIn(image)), image)
      const { tag, manifest, layer } = image
      for (const [path, digest] of [
        [`manifests/${tag}`, manifest],
        [`manifests/${manifest}`, manifest],
        [`blobs/${layer}`, layer],
      ] as const) {
        const answer = await cached.pull(path)
        assert.ok(answer.status >= 500 || isRight(answer, digest), `${what}: ${path}: ${JSON.stringify(answer)}`)
      }
    }
  })
}

test('T-37: a tag whose manifest is gone, its link or its bytes, and blobs that are gone, are fetched again', async () => {
  for (const moment of moments) {
    await using cached = await Cached.make(3)
    if (moment === 'restarted') await cached.restart()
    for (const [index, image] of cached.images.entries()) {
      if (index !== 0) await rm(cached.place(linkPath(local, 'manifests', image.manifest)))
      if (index !== 1) await rm(cached.place(blobPath(image.manifest)))
      for (const digest of [image.config, image.layer]) await rm(cached.place(blobPath(digest)))
      await cached.assertRight(image, `${moment} ${index}`)
    }
  }
})

test('P6: a cache that is damaged all over heals for twenty clients at a time', async () => {
  await using cached = await Cached.make(1)
  await cached.restart()
  const { tag, manifest, config, layer } = cached.image(0)
  for (const digest of [manifest, config, layer]) await flip(cached.place(blobPath(digest)), () => 17)
  for (let round = 0; round < 2; round++) {
    for (const [path, digest] of [
      [`manifests/${tag}`, manifest],
      [`blobs/${config}`, config],
      [`blobs/${layer}`, layer],
    ] as const) {
      const answers = await Promise.all(Array.from({ length: 20 }, async () => await cached.pull(path)))
      for (const answer of answers) {
        if (round === 0 && path.endsWith(layer) && !answer.complete) continue // cut: it showed while it was read
        assertRight(answer, digest, `${round}: ${path}`)
      }
    }
  }
})
