// Reads what a schema describes; the keys it knows, and the nearest one to a key it does not know.
import { formatPath, UnknownKeyError, type KeyPath } from './config-error.ts'
import { asksForUnbuilt, type Inside, type Schema } from './section.ts'

/**
 * What `schema` reads of `value`, which lies at `at` in the file.
 * @throws ConfigError that names an unknown key's nearest one, too
 */
export function readAs<T>(schema: Schema<T>, value: unknown, at: KeyPath = []): T {
  try {
    return schema.read(value, at)
  } catch (error) {
    if (!(error instanceof UnknownKeyError)) throw error
    const near = nearestKey(schema, error.path.slice(at.length))
    if (near === undefined) throw error
    const place = at.length === 0 ? '' : `${formatPath(at)}.`
    throw new UnknownKeyError(error.path, `; did you mean ${place}${near}?`)
  }
}

/** Every key of the schema, from the top: `log.hooks[].options.smtp.addr`, `proxy.upstreams.*.url`. */
export function knownKeys(schema: Schema, prefix = ''): string[] {
  const below = schema.inside
  switch (below.kind) {
    case 'keys':
      return [...below.keys].flatMap(([key, child]) => {
        const path = prefix === '' ? key : `${prefix}.${key}`
        return [path, ...knownKeys(child, path)]
      })
    case 'map':
      return knownKeys(below.value, `${prefix}.*`)
    case 'list':
      return knownKeys(below.item, `${prefix}[]`)
    case 'leaf':
    case 'any':
      return []
  }
}

/** One line for each key that is set, matters, and is not built yet. A section that is marked speaks for its keys. */
export function unbuiltWarnings(schema: Schema, value: unknown, path: KeyPath = []): string[] {
  if (asksForUnbuilt(schema, value)) return [`${formatPath(path)} is not supported yet and has no effect`]
  if (typeof value !== 'object' || value === null) return []
  const below = schema.inside
  const entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  return entries.flatMap(([key, inner]: [string | number, unknown]) => {
    const child = childOf(below, key)
    return child === undefined ? [] : unbuiltWarnings(child, inner, [...path, key])
  })
}

function childOf(below: Inside, key: string | number): Schema | undefined {
  if (below.kind === 'keys') return below.keys.get(String(key))
  if (below.kind === 'map') return below.value
  return below.kind === 'list' ? below.item : undefined
}

/** The known key that `path`, which is none, was probably meant to be: a sibling, else a key of that name elsewhere. */
function nearestKey(schema: Schema, path: KeyPath): string | undefined {
  const parent = path.slice(0, -1)
  const key = String(path.at(-1) ?? '')
  const siblings = (schemaAt(schema, parent) ?? schema).inside
  const near = siblings.kind === 'keys' ? nearest(key, [...siblings.keys.keys()], (name) => name, 3) : undefined
  if (near !== undefined) return formatPath([...parent, near])
  const elsewhere = knownKeys(schema).toSorted((one, other) => one.length - other.length)
  return nearest(key, elsewhere, (known) => known.slice(known.lastIndexOf('.') + 1), 5)
}

function schemaAt(schema: Schema, path: KeyPath): Schema | undefined {
  return path.reduce<Schema | undefined>((at, key) => at && childOf(at.inside, key), schema)
}

/** At most one change for every `grain` letters of the name, one change at least. */
function nearest(
  text: string,
  candidates: readonly string[],
  nameOf: (candidate: string) => string,
  grain: number,
): string | undefined {
  let best: { readonly candidate: string; readonly distance: number } | undefined
  for (const candidate of candidates) {
    const name = nameOf(candidate)
    const most = Math.max(1, name.length / grain)
    if (Math.abs(text.length - name.length) > most) continue // as far apart at least, and a long key would take long
    const found = distance(text.toLowerCase(), name)
    if (found <= most && found < (best?.distance ?? Infinity)) {
      best = { candidate, distance: found }
    }
  }
  return best?.candidate
}

/** Levenshtein: how many letters must be put in, taken out or changed. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let index = 0; index < from.length; index += 1) {
    const next = [index + 1]
    for (let column = 0; column < to.length; column += 1) {
      const change = (row[column] ?? 0) + (from[index] === to[column] ? 0 : 1)
      next.push(Math.min(change, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
