// How the file is written down: sections, which are maps of known keys, each optional, some of them known but not built
// yet; lists; maps whose keys are the operator's own. What else a key may hold is in `leaf.ts`.
import { UnknownKeyError, wrongKind, type KeyPath } from './config-error.ts'
import type { HttpProxyConfig } from './proxy-url.ts'
import { isTree, type Tree } from './tree.ts'

/** What resolving a section may use. */
export interface ResolveContext {
  /** Relative paths start here. */
  readonly cwd: string
  /** What `~` stands for. */
  readonly home: string
  /** What the environment says of proxies. */
  readonly httpProxy: HttpProxyConfig | undefined
  /** Takes one line about a key that we cope with. */
  readonly warn: (line: string) => void
}

/** What a value may be, and is read as. */
export interface Schema<T = unknown> {
  readonly inside: Inside
  /** Known, but not built yet: what may stand here all the same, because it asks for nothing more. */
  readonly harmless?: readonly unknown[]
  /**
   * `path`: where `value` lies in the file.
   * @throws ConfigError for the first thing that does not fit; `UnknownKeyError` where that is a key.
   */
  readonly read: (value: unknown, path: KeyPath) => T
}

/** What may lie below a schema. `any`: whatever the operator likes. */
export type Inside =
  | { readonly kind: 'keys'; readonly keys: ReadonlyMap<string, Schema> }
  | { readonly kind: 'map'; readonly value: Schema }
  | { readonly kind: 'list'; readonly item: Schema }
  | { readonly kind: 'leaf' }
  | { readonly kind: 'any' }

type Shape = Readonly<Record<string, Schema>>
type Read<S extends Shape> = { -readonly [Key in keyof S]?: (S[Key] extends Schema<infer T> ? T : never) | undefined }

/** A map of these keys and no others. */
export function section<S extends Shape>(shape: S): Schema<Read<S>> {
  const keys = new Map(Object.entries(shape))
  return {
    inside: { kind: 'keys', keys },
    read: (value, path) => {
      const map = asTree(value, path)
      const read: Read<S> = {}
      for (const [key, schema] of keys) {
        const inner = Object.hasOwn(map, key) ? map[key] : undefined
        if (inner !== undefined) Object.assign(read, { [key]: schema.read(inner, [...path, key]) })
      }
      const unknown = Object.keys(map).find((key) => !keys.has(key))
      if (unknown !== undefined) throw new UnknownKeyError([...path, unknown])
      return read
    },
  }
}

export function list<T>(item: Schema<T>): Schema<T[]> {
  return {
    inside: { kind: 'list', item },
    read: (value, path) => {
      if (!Array.isArray(value)) throw wrongKind(path, value, 'a list')
      return value.map((entry, index) => item.read(entry, [...path, index]))
    },
  }
}

/** A map whose keys are the operator's own. */
export function mapOf<T>(value: Schema<T>): Schema<Record<string, T>> {
  return {
    inside: { kind: 'map', value },
    read: (map, path) => {
      const entries = Object.entries(asTree(map, path))
      return Object.fromEntries(entries.map(([key, inner]) => [key, value.read(inner, [...path, key])]))
    },
  }
}

const anything: Schema = { inside: { kind: 'any' }, read: (value) => value }

/** A map that nobody looks into. */
export const freeMap: Schema<Record<string, unknown>> = mapOf(anything)

function asTree(value: unknown, path: KeyPath): Tree {
  if (!isTree(value)) throw wrongKind(path, value, 'a map')
  return value
}

/** Marks what is not built yet: it warns unless it is off, or holds one of `harmless` as the schema reads it. */
export function later<T>(schema: Schema<T>, ...harmless: readonly unknown[]): Schema<T> {
  return { ...schema, harmless }
}

/** Whether `value` asks for something that is not built yet. */
export function asksForUnbuilt({ harmless }: Schema, value: unknown): boolean {
  return harmless !== undefined && !harmless.includes(value) && !isOff(value)
}

/** Nothing, `false`, `0`, `enabled: false`, `disabled: true`, or only such things inside. */
function isOff(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isOff)
  if (typeof value !== 'object' || value === null) return value === undefined || value === null || !value
  const entries = Object.entries(value)
  return entries.some(isSwitchedOff) || entries.every(([, inner]) => isOff(inner))
}

function isSwitchedOff([key, value]: [string, unknown]): boolean {
  return (key === 'enabled' && value === false) || (key === 'disabled' && value === true)
}

/** Whether no key inside is set. */
export function isEmpty(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return value === undefined || value === null
  return Object.values(value).every(isEmpty)
}
