// Documents that two readers understand differently. Go's JSON decoders match keys whatever their case and take the last
// of two equal ones, JavaScript's match exactly: a manifest that uses either would be one thing to us and another to the
// client that runs it (CVE-2021-41190 is the same trick with two types).

/** Keys that decide what a manifest is and names, as Go's decoders match them. */
export type StructuralKeys = ReadonlyMap<string, string>

const manifestWords = [
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'blobs',
  'manifests',
  'subject',
  'annotations',
  'digest',
  'size',
  'urls',
  'data',
  'platform',
  'architecture',
  'os',
]

/** Of manifests, lists and artifacts. */
export const manifestKeys: StructuralKeys = keysOf(manifestWords)

/** Of schema 1 manifests, signed or not. */
export const schema1Keys: StructuralKeys = keysOf([
  ...manifestWords,
  'name',
  'tag',
  'fsLayers',
  'blobSum',
  'history',
  'v1Compatibility',
  'signatures',
])

interface Scope {
  readonly isObject: boolean
  /**
   * Keys of annotations are free text, and nobody looks into the value of a key that means nothing: only a key that is
   * given twice is ambiguous there.
   */
  readonly isFree: boolean
  readonly keys: Set<string>
  /** The key that the next value belongs to. */
  key: string
}

/** No manifest needs this depth; Go's decoder stops at ten times as much, where JavaScript's goes on. */
const maxDepth = 1000

/**
 * The first key of a JSON text that is ambiguous, or holds more than any reader would follow; `undefined` where there is
 * none. The text parses as JSON.
 */
export function findAmbiguousKey(json: string, keys: StructuralKeys = manifestKeys): string | undefined {
  const scopes: Scope[] = []
  let expectsKey = false
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],]/g)) {
    const scope = scopes.at(-1)
    if (token === '{' || token === '[') {
      if (scopes.length === maxDepth) return scopes[0]?.key
      scopes.push({ isObject: token === '{', isFree: isFreeIn(scope, keys), keys: new Set(), key: '' })
      expectsKey = token === '{'
    } else if (token === '}' || token === ']') {
      scopes.pop()
      expectsKey = false
    } else if (token === ',') expectsKey = scope?.isObject === true
    else if (expectsKey && scope !== undefined) {
      const key = String(JSON.parse(token))
      if (scope.keys.has(key) || (!scope.isFree && (keys.get(fold(key)) ?? key) !== key)) return key
      scope.keys.add(key)
      scope.key = key
      expectsKey = false
    }
  }
  return undefined
}

/** Whether the keys of what begins in `scope` are free. */
function isFreeIn(scope: Scope | undefined, keys: StructuralKeys): boolean {
  if (scope === undefined || scope.isFree || !scope.isObject) return scope?.isFree === true
  return scope.key === 'annotations' || !keys.has(fold(scope.key))
}

function keysOf(words: readonly string[]): StructuralKeys {
  return new Map(words.map((key) => [fold(key), key]))
}

/** As Go's decoder folds: upper case first, which maps `ſ` and the Kelvin sign to letters. */
function fold(key: string): string {
  return key.toUpperCase().toLowerCase()
}
