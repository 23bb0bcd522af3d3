// What is wrong with a configuration, said in one line that names the key and holds no secret.

/** A configuration that cannot be used. The message is one whole line for a person; its stack is of no interest. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'

  constructor(message: string, options?: ErrorOptions) {
    super(oneLine(message), options)
  }
}

/** Bytes that a terminal obeys or that end a line are shown as JSON would; what goes on and on is cut. */
function oneLine(text: string): string {
  const shown = text.length > 1000 ? `${text.slice(0, 1000)}…` : text
  return shown.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** A key that its section does not have. */
export class UnknownKeyError extends ConfigError {
  readonly path: KeyPath

  constructor(path: KeyPath, hint = '') {
    super(`${formatPath(path)}: unknown key${hint}`)
    this.path = path
  }
}

/** Where a value lies: keys of maps and indices of lists, from the top. */
export type KeyPath = readonly (string | number)[]

/** `log.hooks[0].type` */
export function formatPath(path: KeyPath): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${formatKey(key)}`))
    .join('')
}

/** `password:asecret`, its space forgotten, is one long key to YAML: what follows the colon is not shown. */
function formatKey(key: string): string {
  const shown = key.replace(/:.*$/s, ':…').slice(0, 80)
  return /^[\w.*:…-]+$/.test(shown) ? shown : JSON.stringify(shown)
}

/** The error of a value that does not fit its key: «http.addr: found "5000", expected …». */
export function misfit(path: KeyPath, value: unknown, expected: string): ConfigError {
  if (typeof value !== 'string') return wrongKind(path, value, expected)
  const found = isSecret(path) ? 'a value that is not shown here' : quote(value)
  return new ConfigError(`${formatPath(path)}: found ${found}, expected ${expected}`)
}

/** The same where a map or a list is at stake. Text in their place is not shown: it may be any key's value. */
export function wrongKind(path: KeyPath, value: unknown, expected: string): ConfigError {
  if (value === undefined || value === null) {
    return new ConfigError(`${formatPath(path)}: missing, expected ${expected}`)
  }
  return new ConfigError(`${formatPath(path)}: found ${kindOf(value)}, expected ${expected}`)
}

/** A key without a value is read as a map without keys. */
function kindOf(value: {}): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value !== 'object') return 'text'
  return Object.keys(value).length === 0 ? 'nothing' : 'a map'
}

function isSecret(path: KeyPath): boolean {
  return path.some((key) => /pass|secret|token|key$|credential|headers|^auth$/i.test(String(key)))
}

function quote(value: string): string {
  const text = withoutUserinfo(value)
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
}

/** A URL's user name, password and query may be secrets; whatever stands before an `@` is taken for one. */
function withoutUserinfo(text: string): string {
  return text.replace(/^(\w+:\/\/)?.*@/s, '$1…@').replace(/(:\/\/[^?]*)\?.*$/s, '$1?…')
}

/** `ENOENT` and its like: the system's own message would repeat the path. */
export function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
