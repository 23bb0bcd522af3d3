// JSON as Go's encoding/json writes it: schema 1 ids and digests are made from these very bytes.

/** The characters that JSON.stringify and Go spell differently, and every escape, so that none is read from its middle. */
const spelledDifferently = /\\u[0-9a-f]{4}|\\.|[<>&\u2028\u2029]/g

/** Keys keep their order; a member that is `undefined` is left out. `indent`: spaces for each level. */
export function goJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(spelledDifferently, (found) => {
    if (found === '\\b') return '\\u0008'
    if (found === '\\f') return '\\u000c'
    // A lone surrogate, which Go has already replaced when it read the text.
    if (found.startsWith('\\ud')) return '\ufffd'
    return found.startsWith('\\') ? found : escaped(found)
  })
}

/** JSON text that is kept as it was written, but for what Go escapes in any JSON. */
export function goRawJson(text: string): string {
  return text.replace(/[<>&\u2028\u2029]/g, escaped)
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/**
 * The members of an object as they are written, without the white space around their tokens: `1.0` stays `1.0`. Of a key
 * that is given twice, the last. `text` must be a JSON object, which is not checked again here.
 */
export function rawMembers(text: string): Map<string, string> {
  const compact = withoutSpace(text)
  const members = new Map<string, string>()
  const add = (start: number, end: number): void => {
    if (start === end) return
    const keyEnd = endOfString(compact, start)
    members.set(String(JSON.parse(compact.slice(start, keyEnd))), compact.slice(keyEnd + 1, end))
  }
  let depth = 0
  let start = 1
  for (let at = 0; at < compact.length; at += 1) {
    const character = compact[at]
    if (character === '"') at = endOfString(compact, at) - 1
    else if (character === '{' || character === '[') depth += 1
    else if (character === '}' || character === ']') {
      depth -= 1
      if (depth === 0) add(start, at)
    } else if (character === ',' && depth === 1) {
      add(start, at)
      start = at + 1
    }
  }
  return members
}

function withoutSpace(text: string): string {
  const runs: string[] = []
  let start = 0
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]
    if (character === '"') at = endOfString(text, at) - 1
    else if (character === ' ' || character === '\n' || character === '\r' || character === '\t') {
      runs.push(text.slice(start, at))
      start = at + 1
    }
  }
  runs.push(text.slice(start))
  return runs.join('')
}

/** The place after the quote that ends the string which begins at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}
