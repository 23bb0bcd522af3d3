// Names as the grammars of the distribution specification make them.
import { parseDigest, type Digest } from '../../src/oci/digest.ts'
import {
  maxRepositoryNameLength,
  parseRepositoryName,
  parseTag,
  type RepositoryName,
  type Tag,
} from '../../src/oci/reference.ts'
import type { Random } from './seeded.ts'

const lower = 'abcdefghijklmnopqrstuvwxyz0123456789'
const word = `${lower}ABCDEFGHIJKLMNOPQRSTUVWXYZ_`

/** Characters that a change of a name may bring in. */
export const strange: string = `${word}.-/:@%+~\\ \0\n\tä´ſK٣`

function component(random: Random): string {
  if (random.oneIn(6)) return random.pick(['blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers', 'v2'])
  const runs = [random.text(lower, 1, 8)]
  while (random.oneIn(2)) runs.push(random.pick(['.', '_', '__', '-', '--', '---']), random.text(lower, 1, 8))
  return runs.join('')
}

export function randomName(random: Random): RepositoryName {
  const components = [component(random)]
  while (!random.oneIn(3)) components.push(component(random))
  const name = components.join('/')
  return parseRepositoryName(name.length > maxRepositoryNameLength ? component(random).slice(0, 1) : name)
}

export function randomTag(random: Random): Tag {
  return parseTag(random.character(word) + random.text(`${word}.-`, 0, random.oneIn(4) ? 127 : 12))
}

export function randomDigest(random: Random): Digest {
  const hex = '0123456789abcdef'
  return parseDigest(random.oneIn(2) ? `sha256:${random.text(hex, 64, 64)}` : `sha512:${random.text(hex, 128, 128)}`)
}
