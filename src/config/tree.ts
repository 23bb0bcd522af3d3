// YAML as a tree of maps, lists and text, before any key is known. Scalars stay text, exactly as written: `0123` may be a
// password, and `0.1` is a version.
import { LineCounter, parseDocument } from 'yaml'

export interface Tree {
  [key: string]: unknown
}

export interface YamlProblem {
  /** Without anything of the document's content: it may hold secrets. */
  readonly reason: string
  readonly line: number
  readonly column: number
}

export type YamlResult = { readonly value: unknown } | { readonly problem: YamlProblem }

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function readYaml(source: string): YamlResult {
  const lineCounter = new LineCounter()
  const document = parseDocument(source, {
    schema: 'failsafe',
    customTags: ['null', 'merge'],
    lineCounter,
    prettyErrors: false,
    logLevel: 'error',
  })
  const [error] = document.errors
  if (error !== undefined) {
    const { line, col } = lineCounter.linePos(error.pos[0])
    return { problem: { reason: withoutContent(error.message), line, column: col } }
  }
  try {
    const value: unknown = document.toJS()
    if (hasEnd(value)) return { value }
    return { problem: { reason: 'an alias stands inside its own anchor', line: 1, column: 1 } }
  } catch {
    return { problem: { reason: 'an alias has no anchor, or there are too many', line: 1, column: 1 } }
  }
}

/** An alias inside its own anchor makes a tree without an end. */
function hasEnd(value: unknown, above: readonly unknown[] = []): boolean {
  if (typeof value !== 'object' || value === null) return true
  return !above.includes(value) && Object.values(value).every((inner) => hasEnd(inner, [...above, value]))
}

/** The parser quotes the document after a colon. */
function withoutContent(message: string): string {
  return message.replace(/(?::\s|\n).*$/s, '')
}

/**
 * Brings the short forms to the long one, in place: `storage: inmemory`, `auth: none`, names with nothing after them, as
 * in `inmemory:`, and mirrors that are a URL and nothing else.
 */
export function expandShortForms(root: Tree): void {
  for (const key of ['storage', 'auth']) {
    const value = root[key]
    if (typeof value === 'string' && value !== '') root[key] = { [value]: {} }
    fillEmpty(root[key])
  }
  const { proxy } = root
  if (!isTree(proxy)) return
  const { upstreams } = proxy
  fillEmpty(upstreams)
  for (const owner of [proxy, ...(isTree(upstreams) ? Object.values(upstreams) : [])]) {
    if (isTree(owner)) expandMirrors(owner['mirrors'])
  }
}

function expandMirrors(mirrors: unknown): void {
  if (!Array.isArray(mirrors)) return
  for (const [index, url] of mirrors.entries()) if (typeof url === 'string') mirrors[index] = { url }
}

function fillEmpty(map: unknown): void {
  if (!isTree(map)) return
  for (const [key, value] of Object.entries(map)) if (value === null || value === '') map[key] = {}
}

/** The same tree, `undefined` where a key holds nothing: to distribution, which knows no absence, it is not set. */
export function blankEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(blankEmpty)
  if (!isTree(value)) return value
  const entries = Object.entries(value)
  return Object.fromEntries(
    entries.map(([key, inner]) => [key, inner === null || inner === '' ? undefined : blankEmpty(inner)]),
  )
}

/** The value at `path`, if there is one. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => {
    if (Array.isArray(at)) return at[Number(key)]
    return isTree(at) && Object.hasOwn(at, key) ? at[String(key)] : undefined
  }, value)
}
