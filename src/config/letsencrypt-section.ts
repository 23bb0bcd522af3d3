// `http.tls.letsencrypt`: a certificate from an authority that is asked by ACME (RFC 8555), which need not be Let's Encrypt.
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConfigError, formatPath, reasonOf, type KeyPath } from './config-error.ts'
import { leaf, mailAddress, text } from './leaf.ts'
import { resolvePath } from './named-file.ts'
import type { HttpProxyConfig } from './proxy-url.ts'
import { list, section, type ResolveContext, type Schema } from './section.ts'

export interface LetsEncryptConfig {
  /** Absolute. */
  readonly cacheFile: string
  readonly email: string | undefined
  /** DNS names in lower case, one at least. */
  readonly hosts: readonly string[]
  readonly directory: string
  /** What the environment says that the authority is reached through. */
  readonly httpProxy: HttpProxyConfig | undefined
}

export interface LetsEncryptInput {
  readonly cachefile?: string | undefined
  readonly email?: string | undefined
  readonly hosts?: string[] | undefined
  readonly directoryurl?: string | undefined
}

/** What can be proven by TLS alone: no wildcard. Its last part is no number, so it is no address (RFC 1123 §2.1). */
const host = leaf('a DNS name, such as registry.example.com: no address, and no wildcard', (value) =>
  /^(?=.{1,253}$)(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)*(?!\d+$)[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?$/i.test(value)
    ? value.toLowerCase()
    : undefined,
)

const directory = leaf("the https URL of an authority's directory", (value) => {
  const url = /^https:\/\/[^\s#@]+$/i.test(value) ? URL.parse(value) : null
  return url?.href
})

export const letsEncryptSchema: Schema<LetsEncryptInput> = section({
  cachefile: text,
  email: mailAddress,
  hosts: list(host),
  directoryurl: directory,
})

const at: KeyPath = ['http', 'tls', 'letsencrypt']

const usualDirectory = 'https://acme-v02.api.letsencrypt.org/directory'

/** In one certificate, with Let's Encrypt. */
const mostHosts = 100

/** What the file holds is looked at when we start. @throws ConfigError */
export function resolveLetsEncrypt(input: LetsEncryptInput, context: ResolveContext): LetsEncryptConfig {
  const hosts = [...new Set(input.hosts)]
  const key = (name: string): string => formatPath([...at, name])
  if (hosts.length === 0) {
    throw new ConfigError(
      `${key('hosts')}: missing, expected the names that we are reached by: without them anybody could make us ask for any`,
    )
  }
  if (hosts.length > mostHosts) {
    throw new ConfigError(`${key('hosts')}: found ${hosts.length}, expected ${mostHosts} at most`)
  }
  if (input.cachefile === undefined) {
    throw new ConfigError(`${key('cachefile')}: missing, expected a file to keep the account and the certificate in`)
  }
  return {
    cacheFile: resolveCacheFile(input.cachefile, key('cachefile'), context),
    email: input.email,
    hosts,
    directory: input.directoryurl ?? usualDirectory,
    httpProxy: context.httpProxy,
  }
}

function resolveCacheFile(path: string, key: string, context: ResolveContext): string {
  const file = resolvePath(path, context)
  const folder = dirname(file)
  if (isFolder(file, key)) {
    throw new ConfigError(`${key}: ${file} is a folder, as distribution keeps one, expected a file`)
  }
  if (!isFolder(folder, key)) throw new ConfigError(`${key}: ${folder} is no folder, expected one to keep the file in`)
  return file
}

function isFolder(path: string, key: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  } catch (cause) {
    throw new ConfigError(`${key}: ${path} cannot be looked at: ${reasonOf(cause)}`, { cause })
  }
}
