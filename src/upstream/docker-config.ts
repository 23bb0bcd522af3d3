// Reading docker's `config.json` and podman's `auth.json`: what they say about one repository of one registry.
import { isDockerHubName } from '../oci/docker-hub.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { CredentialsError, type Credentials } from './credentials.ts'

export interface DockerConfig {
  /** By registry, or by registry and namespace: `ghcr.io`, `quay.io/team`. */
  readonly auths: ReadonlyMap<string, Credentials>
  /** Suffixes of helper programs, by the same keys. */
  readonly helpers: ReadonlyMap<string, string>
  /** The helper that is asked for all other registries. */
  readonly store: string | undefined
}

/** @throws CredentialsError, which quotes nothing of the text */
export function parseDockerConfig(text: string): DockerConfig {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    throw new CredentialsError('the credentials file is not JSON') // the parser's own error quotes the text
  }
  if (!isObject(document)) throw new CredentialsError('the credentials file is not a JSON object')
  const { auths, credHelpers, credsStore } = document
  return {
    auths: keyed(auths, 'auths', (entry) => (isObject(entry) ? parseEntry(entry) : undefined)),
    helpers: keyed(credHelpers, 'credHelpers', (suffix) => textOf(suffix)),
    store: textOf(credsStore),
  }
}

/** The entry with the longest key that `host` and `repository` begin with. */
export function findEntry<T>(entries: ReadonlyMap<string, T>, host: string, repository: RepositoryName): T | undefined {
  const server = foldHost(host)
  for (let path: string = repository; path !== ''; path = path.slice(0, Math.max(0, path.lastIndexOf('/')))) {
    const entry = entries.get(`${server}/${path}`)
    if (entry !== undefined) return entry
  }
  return entries.get(server)
}

/** The name by which helper programs know a registry. */
export function helperServer(host: string): string {
  return foldHost(host) === 'docker.io' ? 'https://index.docker.io/v1/' : host
}

function foldHost(host: string): string {
  const lower = host.toLowerCase()
  return isDockerHubName(lower) ? 'docker.io' : lower
}

/** `https://index.docker.io/v1/` → `docker.io`; of a URL only the host counts, other keys may name a namespace. */
function foldKey(key: string): { name: string; isUrl: boolean } {
  const [, scheme, host = '', path = ''] = /^(https?:\/\/)?([^/]*)\/?(.*?)\/*$/i.exec(key) ?? []
  const isUrl = scheme !== undefined || /^v[12]$/.test(path)
  return { name: isUrl || path === '' ? foldHost(host) : `${foldHost(host)}/${path}`, isUrl }
}

/** Where a URL and a plain name fold to the same key, the plain name counts. */
function keyed<T>(value: unknown, where: string, parse: (entry: unknown) => T | undefined): Map<string, T> {
  const result = new Map<string, T>()
  if (value === undefined || value === null) return result
  if (!isObject(value)) throw new CredentialsError(`${where} in the credentials file is not an object`)
  for (const [key, entry] of Object.entries(value)) {
    const { name, isUrl } = foldKey(key)
    const parsed = parse(entry)
    if (parsed !== undefined && !(isUrl && result.has(name))) result.set(name, parsed)
  }
  return result
}

function parseEntry(entry: Record<string, unknown>): Credentials | undefined {
  const registryToken = textOf(entry['registrytoken'])
  if (registryToken !== undefined) return { kind: 'registry-token', token: registryToken }
  const identityToken = textOf(entry['identitytoken'])
  if (identityToken !== undefined) return { kind: 'identity-token', token: identityToken }
  const auth = textOf(entry['auth'])
  if (auth !== undefined) return parseAuth(auth)
  const username = textOf(entry['username'])
  const password = textOf(entry['password'])
  return username === undefined ? undefined : { kind: 'password', username, password: password ?? '' }
}

function parseAuth(auth: string): Credentials {
  const text = Buffer.from(auth, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 0) throw new CredentialsError('an auth in the credentials file is not a user name and a password')
  return { kind: 'password', username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
