// How a section of the file is written down: a map of known keys, each optional, some of them known but not built yet. It is
// zod's smaller half that reads them: the larger one does no more of what is needed here, and takes longer to load.
import * as z from 'zod/mini'
import type { HttpProxyConfig } from './proxy-url.ts'

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
export type Schema<T = unknown> = z.ZodMiniType<T>

type Shape = Readonly<Record<string, Schema>>
type Section<S extends Shape> = z.ZodMiniObject<
  { -readonly [Key in keyof S]: z.ZodMiniOptional<S[Key]> },
  z.core.$strict
>

/** A map of these keys and no others. */
export function section<S extends Shape>(shape: S): Section<S> {
  return z.partial(z.strictObject(shape))
}

export function list<T>(item: Schema<T>): Schema<T[]> {
  return z.array(item)
}

/** A map whose keys are the operator's own. */
export function mapOf<T>(value: Schema<T>): Schema<Record<string, T>> {
  return z.record(z.string(), value)
}

/** A map that nobody looks into. */
export const freeMap: Schema<Record<string, unknown>> = mapOf(z.unknown())

/** Schemas of what is known but not built yet → values that may be ignored, because they ask for nothing more. */
const unbuilt = new WeakMap<Schema, readonly unknown[]>()

/** Marks what is not built yet: it warns unless it is off, or holds one of `harmless` as the schema reads it. */
export function later<T extends Schema>(schema: T, ...harmless: readonly unknown[]): T {
  const marked = schema.clone()
  unbuilt.set(marked, harmless)
  return marked
}

/** Whether `value` asks for something that is not built yet. */
export function asksForUnbuilt(schema: Schema, value: unknown): boolean {
  return !(unbuilt.get(schema) ?? [value]).includes(value) && !isOff(value)
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
