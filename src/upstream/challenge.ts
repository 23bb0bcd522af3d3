// Reading `WWW-Authenticate` (RFC 9110 §11.6.1): several schemes in one line or in many, parameters in any order, values
// quoted with escapes or bare.

export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string
  /** By name in lower case. */
  readonly parameters: ReadonlyMap<string, string>
}

const maxLine = 8192
const maxChallenges = 16
const maxParameters = 32

const separators = /[\s,]*/y
const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y
const equals = /[ \t]*=[ \t]*/y
/** What `Negotiate` and its like carry in place of parameters; it ends the challenge. */
const token68 = /[ \t]+[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$)/y
const quoted = /"((?:[^"\\]|\\.)*)"/y
/** Wider than RFC 9110's token: servers exist that send their realm's URL without quotes. */
const bare = /[^\s,"]+/y

/** Reads what can be read: a line that stops making sense gives the challenges before that point. */
export function parseChallenges(lines: readonly string[]): Challenge[] {
  const challenges: Challenge[] = []
  for (const line of lines) {
    if (line.length <= maxLine) parseLine(line, challenges)
  }
  return challenges
}

function parseLine(line: string, challenges: Challenge[]): void {
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at
    const match = pattern.exec(line) ?? undefined
    if (match !== undefined) at = pattern.lastIndex
    return match
  }
  let parameters: Map<string, string> | undefined
  for (;;) {
    take(separators)
    const name = take(token)?.[0].toLowerCase()
    if (name === undefined) return
    if (parameters !== undefined && take(equals) !== undefined) {
      const value = take(quoted)?.[1]?.replaceAll(/\\(.)/g, '$1') ?? take(bare)?.[0]
      if (value === undefined || parameters.size >= maxParameters) return
      if (!parameters.has(name)) parameters.set(name, value)
    } else {
      if (challenges.length >= maxChallenges) return
      parameters = new Map()
      challenges.push({ scheme: name, parameters })
      if (take(token68) !== undefined) parameters = undefined
    }
  }
}
