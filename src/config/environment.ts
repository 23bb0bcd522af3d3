// `REGISTRY_HTTP_ADDR` overrides `http.addr`: distribution's rule for every key of the file. Values are YAML.
import { ConfigError, formatPath, type KeyPath } from './config-error.ts'
import { expandShortForms, isTree, readYaml, valueAt, type Tree } from './tree.ts'
import type { Schema } from './section.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const prefix = 'REGISTRY_'

/** In our namespace and no keys: the file's own path, and podman's credentials. */
const notKeys: ReadonlySet<string> = new Set(['REGISTRY_CONFIGURATION_PATH', 'REGISTRY_AUTH_FILE'])

/** distribution matches the names of its Go fields, which differ from the keys here. */
const goNames: ReadonlyMap<string, string> = new Map([
  ['notifications.eventconfig', 'events'],
  ['health.filecheckers', 'file'],
  ['health.httpcheckers', 'http'],
  ['health.tcpcheckers', 'tcp'],
  ['log.hooks.mailoptions', 'options'],
])

/**
 * Writes what the environment says into `root`, in the order of the variables' names: `REGISTRY_STORAGE` before
 * `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`, and `…_2` before `…_10`.
 * @returns a line for each variable that names no key
 * @throws ConfigError
 */
export function applyEnvironment(root: Tree, schema: Schema, env: Environment): string[] {
  const warnings: string[] = []
  for (const name of Object.keys(env).toSorted(byName)) {
    const value = env[name]
    if (!name.startsWith(prefix) || notKeys.has(name) || value === undefined) continue
    const target = find({ schema, value: root, path: [] }, name.slice(prefix.length).split('_'), name)
    if (target === undefined) {
      warnings.push(`${name} names no key of the configuration and is ignored`)
      continue
    }
    assign(root, target.path, readValue(name, value, target))
    expandShortForms(root)
  }
  return warnings
}

function byName(one: string, other: string): number {
  const [a, b] = [sortable(one), sortable(other)]
  if (a === b) return 0
  return a < b ? -1 : 1
}

/** Whose order as text is that of the segments, numbers among them by their value. */
function sortable(name: string): string {
  const segments = name.split('_').map((segment) => (/^\d+$/.test(segment) ? segment.padStart(16, '0') : segment))
  return segments.join('_')
}

/** A place in the tree: what may be there, what is there, and the way to it. */
interface Place {
  readonly schema: Schema
  readonly value: unknown
  readonly path: KeyPath
}

function find(place: Place, segments: readonly string[], name: string): Place | undefined {
  const [segment, ...rest] = segments
  if (segment === undefined) return place
  if (segment === '') return undefined
  const below = place.schema.inside
  switch (below.kind) {
    case 'keys': {
      const lower = segment.toLowerCase()
      const key = goNames.get(formatPath([...place.path.filter((one) => typeof one === 'string'), lower])) ?? lower
      const schema = below.keys.get(key)
      return schema && find(step(place, key, schema), rest, name)
    }
    case 'map':
      return findInMap(place, below.value, segments, name)
    case 'list':
      return findInList(place, below.item, segments, name)
    case 'any':
      return Array.isArray(place.value)
        ? findInList(place, place.schema, segments, name)
        : findInMap(place, place.schema, segments, name)
    case 'leaf':
      return undefined
  }
}

function step(place: Place, key: string | number, schema: Schema): Place {
  return { schema, value: valueAt(place.value, [key]), path: [...place.path, key] }
}

/** An existing key, the longest that fits, where `.` and `-` of `docker.io` may be written `_`; else a new one. */
function findInMap(place: Place, schema: Schema, segments: readonly string[], name: string): Place | undefined {
  const existing = isTree(place.value) ? Object.keys(place.value) : []
  for (let length = segments.length; length > 0; length -= 1) {
    const wanted = segments.slice(0, length).map(fold).join('_')
    const key = existing.find((one) => fold(one) === wanted)
    const found = key === undefined ? undefined : find(step(place, key, schema), segments.slice(length), name)
    if (found !== undefined) return found
  }
  const [segment = '', ...rest] = segments
  return find(step(place, segment.toLowerCase(), schema), rest, name)
}

function fold(key: string): string {
  return key.toLowerCase().replace(/[.-]/g, '_')
}

function findInList(place: Place, item: Schema, segments: readonly string[], name: string): Place | undefined {
  const [segment = '', ...rest] = segments
  if (!/^\d+$/.test(segment)) return undefined
  const length = Array.isArray(place.value) ? place.value.length : 0
  if (Number(segment) > length) {
    throw new ConfigError(`${name}: found index ${segment}, expected at most ${length}: a list has no gaps`)
  }
  return find(step(place, Number(segment), item), rest, name)
}

/**
 * A single value that is no YAML scalar, such as a password `{a`, is taken as it stands, and so is one of which YAML leaves
 * nothing: `#a` is a comment to it, `&a` and `!a` say something of a value that does not follow.
 */
function readValue(name: string, value: string, target: Place): unknown {
  const result = readYaml(value)
  const isLeaf = target.schema.inside.kind === 'leaf'
  if ('problem' in result) {
    if (isLeaf) return value
    throw new ConfigError(
      `${name}: not YAML, expected a value for ${formatPath(target.path)}: ${result.problem.reason}`,
    )
  }
  if (!isLeaf) return result.value
  const isNothing = result.value === null || result.value === ''
  const isScalar = isNothing ? !/^[#&!]/.test(value) : typeof result.value === 'string'
  return isScalar ? result.value : value
}

function assign(root: Tree, path: KeyPath, value: unknown): void {
  let at: Tree | unknown[] = root
  for (const [index, key] of path.entries()) {
    if (index === path.length - 1) put(at, key, value)
    else at = enter(at, key, typeof path[index + 1] === 'number')
  }
}

/** The map or list at `key`, made where something else is. */
function enter(at: Tree | unknown[], key: string | number, wantsList: boolean): Tree | unknown[] {
  const value = valueAt(at, [key])
  if (wantsList && Array.isArray(value)) return value
  if (!wantsList && isTree(value)) return value
  const made = wantsList ? [] : {}
  put(at, key, made)
  return made
}

function put(at: Tree | unknown[], key: string | number, value: unknown): void {
  if (Array.isArray(at)) at[Number(key)] = value
  else at[key] = value
}
