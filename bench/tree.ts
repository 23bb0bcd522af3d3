// A storage folder with many objects, each as small as it can be: what costs is how many there are.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface StoredImage {
  readonly repository: string
  readonly tag: string
  readonly text: string
  readonly digest: string
  readonly blobs: readonly { readonly text: string; readonly digest: string }[]
}

/** Objects of an image: its manifest, its config, its layers. */
export const objectsOfImage = 10

/** A repository of our own, that no upstream is asked for. */
export const taggedRepository = 'local/tagged'

function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

/** Every second image is a tag of one repository, each other has a repository of its own. */
export function imageAt(index: number): StoredImage {
  const blobs = Array.from({ length: objectsOfImage - 1 }, (_, part) => {
    const text = `${index} ${part}`
    return { text, digest: digestOf(text) }
  })
  const [config, ...layers] = blobs.map(({ text, digest }) => ({ digest, size: text.length }))
  const text = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer })),
  })
  const number = String(index).padStart(7, '0')
  const isTagged = index % 2 === 0
  const repository = isTagged ? taggedRepository : `app/r${number}`
  return { repository, tag: isTagged ? `v${number}` : 'latest', text, digest: digestOf(text), blobs }
}

/** Makes a folder with so many objects, or what is missing of one. */
export function makeTree(root: string, objects: number, say: (text: string) => void): void {
  const mark = markOf(root)
  if (existsSync(mark)) return
  const folder = join(root, 'docker/registry/v2')
  const enter = (path: string): string => {
    mkdirSync(path, { recursive: true })
    return path
  }
  const link = (path: string, digest: string): void => writeFileSync(join(enter(path), 'link'), digest)
  const images = objects / objectsOfImage
  for (let index = 0; index < images; index += 1) {
    const { repository, tag, text, digest, blobs } = imageAt(index)
    const place = join(folder, 'repositories', repository)
    const last = join(place, '_manifests/tags', tag, 'current')
    if (existsSync(join(last, 'link'))) continue
    for (const object of [{ text, digest }, ...blobs]) {
      const hex = object.digest.slice('sha256:'.length)
      writeFileSync(join(enter(join(folder, 'blobs/sha256', hex.slice(0, 2), hex)), 'data'), object.text)
      if (object.text !== text) link(join(place, '_layers/sha256', hex), object.digest)
    }
    const hex = digest.slice('sha256:'.length)
    link(join(place, '_manifests/revisions/sha256', hex), digest)
    link(join(place, '_manifests/tags', tag, 'index/sha256', hex), digest)
    link(last, digest) // what is evicted goes from here on
    if (index % 10_000 === 9999) say(`${(index + 1) * objectsOfImage} of ${objects} objects made`)
  }
  writeFileSync(mark, '')
}

/** Something will be missing. */
export function unmark(root: string): void {
  rmSync(markOf(root), { force: true })
}

/** Takes away what a server has added: blobs of a repository, and its own state. */
export function tidy(root: string, repository: string, digests: readonly string[]): void {
  const remove = (path: string): void => rmSync(join(root, path), { recursive: true, force: true })
  for (const digest of digests) {
    const hex = digest.slice('sha256:'.length)
    remove(join('docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex))
  }
  remove(join('docker/registry/v2/repositories', repository, '_layers'))
  remove('entrepot')
}

/** It is there where all objects are. */
function markOf(root: string): string {
  return `${root}.made`
}
