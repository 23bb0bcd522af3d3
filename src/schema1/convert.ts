// Says in the words of schema 1 what an image of today is, for clients that know no other (distribution v2 does the same).
import { createHash } from 'node:crypto'
import { digestOf, hexOf, type Digest } from '../oci/digest.ts'
import { maxManifestSize } from '../oci/manifest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import { emptyLayerDigest } from './empty-layer.ts'
import { goJson, goRawJson, rawMembers } from './go-json.ts'
import { goTime, zeroTime } from './go-time.ts'
import { JsonReader, type JsonObject } from './json-reader.ts'

/** The image cannot be said in the words of schema 1. */
export class ConversionError extends Error {
  override readonly name = 'ConversionError'
}

export interface Image {
  /** The bytes of the image's configuration blob. */
  readonly config: Uint8Array
  /** The image's layers, the lowest first, as in its manifest. */
  readonly layers: readonly Digest[]
  readonly name: RepositoryName
  readonly tag: Tag
}

export interface Conversion {
  /** The canonical bytes, still to be signed. */
  readonly payload: Buffer
  readonly digest: Digest
  /** Whether it names the layer of `empty-layer.ts`, which the repository may not have. */
  readonly usesEmptyLayer: boolean
}

/** A line of the image's history, with the layer that it made. */
interface Step {
  readonly blob: Digest
  readonly created: string
  readonly createdBy: string
  readonly author: string
  readonly comment: string
  readonly isEmpty: boolean
}

const read = new JsonReader(ConversionError)

/**
 * Every registry that converts an image gives the same ids: they are made from the layers, and the topmost from the whole
 * configuration.
 * @throws ConversionError
 */
export function convertToSchema1({ config, layers, name, tag }: Image): Conversion {
  const image = read.parse(config, 'the configuration')
  const rootfs = read.object(image['rootfs'] ?? {}, 'rootfs')
  const steps = parseSteps(image, rootfs, layers)
  const baseLayer = read.text(rootfs['base_layer'], 'rootfs.base_layer')

  const history: string[] = []
  let size = 0
  let parent = ''
  const add = (v1Compatibility: string): void => {
    history.push(v1Compatibility)
    size += v1Compatibility.length
    if (size > maxManifestSize) throw new ConversionError(`the manifest would be larger than ${maxManifestSize} bytes`)
  }
  for (const [index, step] of steps.slice(0, -1).entries()) {
    const id = hexOf(digestOf(`${hexOf(step.blob)} ${parent}`))
    if (index === 0 && baseLayer !== '') parent = idOfBaseLayer(baseLayer)
    add(compatibilityOf(step, id, parent))
    parent = id
  }
  const top = steps.at(-1)
  if (top === undefined) throw new ConversionError('the image has no history')
  const input = Buffer.concat([Buffer.from(`${hexOf(top.blob)} ${parent} `), config])
  add(compatibilityOfTop(config, hexOf(digestOf(input)), parent, top.isEmpty))

  const document = {
    schemaVersion: 1,
    name,
    tag,
    architecture: read.text(image['architecture'], 'architecture'),
    fsLayers: steps.toReversed().map(({ blob }) => ({ blobSum: blob })),
    history: history.toReversed().map((v1Compatibility) => ({ v1Compatibility })),
  }
  const payload = Buffer.from(goJson(document, 3))
  if (payload.length > maxManifestSize) {
    throw new ConversionError(`the manifest would be larger than ${maxManifestSize} bytes`)
  }
  return { payload, digest: digestOf(payload), usesEmptyLayer: steps.some((step) => step.isEmpty) }
}

function parseSteps(image: JsonObject, rootfs: JsonObject, layers: readonly Digest[]): readonly Step[] {
  const diffIds = read.list(rootfs['diff_ids'], 'rootfs.diff_ids')
  if (diffIds.length !== layers.length) {
    throw new ConversionError(`the configuration has ${diffIds.length} layers, the manifest ${layers.length}`)
  }
  let used = 0
  const steps = read.list(image['history'], 'history').map((value, index) => {
    const where = `history[${index}]`
    const entry = read.object(value, where)
    const isEmpty = read.flag(entry['empty_layer'], `${where}.empty_layer`)
    const blob = isEmpty ? emptyLayerDigest : layers[used]
    if (blob === undefined) throw new ConversionError('the history has more layers than the image')
    if (!isEmpty) used += 1
    return {
      blob,
      isEmpty,
      created: createdOf(entry, where),
      createdBy: read.text(entry['created_by'], `${where}.created_by`),
      author: read.text(entry['author'], `${where}.author`),
      comment: read.text(entry['comment'], `${where}.comment`),
    }
  })
  // An image of which layers are left out is another image (distribution leaves them out).
  if (steps.length > 0 && used < layers.length) throw new ConversionError('the history has fewer layers than the image')
  return steps
}

function createdOf(entry: JsonObject, where: string): string {
  if (entry['created'] === undefined || entry['created'] === null) return zeroTime
  const created = goTime(read.text(entry['created'], `${where}.created`))
  if (created === undefined) throw new ConversionError(`${where}.created is not a time`)
  return created
}

/** What Windows images stand on instead of a layer: 32 bytes of its SHA-384. */
function idOfBaseLayer(baseLayer: string): string {
  return createHash('sha384').update(baseLayer).digest('hex').slice(0, 64)
}

/** Enough of an image for the clients of schema 1 to tell the layers apart; none that would run. */
function compatibilityOf(step: Step, id: string, parent: string): string {
  return goJson({
    id,
    parent: parent || undefined,
    comment: step.comment || undefined,
    created: step.created,
    container_config: { Cmd: [step.createdBy] },
    author: step.author || undefined,
    throwaway: step.isEmpty || undefined,
  })
}

/** The configuration itself, with its ids in place of its layers. What we do not know of it stays as it is written. */
function compatibilityOfTop(config: Uint8Array, id: string, parent: string, isEmpty: boolean): string {
  const members = rawMembers(Buffer.from(config).toString('utf8'))
  members.delete('rootfs')
  members.delete('history')
  members.set('id', goJson(id))
  if (parent !== '') members.set('parent', goJson(parent))
  if (isEmpty) members.set('throwaway', 'true')
  const sorted = [...members].toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  return `{${sorted.map(([key, value]) => `${goJson(key)}:${goRawJson(value)}`).join(',')}}`
}
