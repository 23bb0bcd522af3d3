// `validation`, `policy` and `compatibility`: which manifests may be pushed.
import { misfit } from './config-error.ts'
import { flag, leaf, oneOf, text } from './leaf.ts'
import { resolvePath, type NamedFile } from './named-file.ts'
import { list, section, type ResolveContext, type Schema } from './section.ts'

/** What a pushed manifest is looked at for. */
export interface ValidationConfig {
  /** Neither URLs nor the children of indexes are looked at. */
  readonly disabled: boolean
  /** Patterns for URLs of foreign layers, for `RegExp` in `u` mode, each on its own and unanchored. */
  readonly urls: { readonly allow: readonly string[]; readonly deny: readonly string[] }
  readonly indexes: {
    /** Which children of an index must be here; `list`: those in `platformList`. */
    readonly platforms: 'all' | 'none' | 'list'
    readonly platformList: readonly { readonly architecture: string; readonly os: string }[]
  }
}

export interface PolicyConfig {
  /** Classes of manifests that may be pushed; empty: all. */
  readonly classes: readonly string[]
}

export interface Schema1Config {
  /** Whether schema 1 manifests may be pushed. */
  readonly enabled: boolean
  /** The private key that they are signed with; `undefined`: a new one in each process. */
  readonly keyFile: NamedFile | undefined
}

interface PlatformInput {
  readonly architecture?: string | undefined
  readonly os?: string | undefined
}

interface ManifestsInput {
  readonly urls?: { readonly allow?: string[] | undefined; readonly deny?: string[] | undefined } | undefined
  readonly indexes?:
    | {
        readonly platforms?: ValidationConfig['indexes']['platforms'] | undefined
        readonly platformlist?: PlatformInput[] | undefined
      }
    | undefined
}

export interface ValidationInput {
  readonly enabled?: boolean | undefined
  readonly disabled?: boolean | undefined
  readonly manifests?: ManifestsInput | undefined
}

export interface PolicyInput {
  readonly repository?: { readonly classes?: string[] | undefined } | undefined
}

export interface CompatibilityInput {
  readonly schema1?:
    | {
        readonly enabled?: boolean | undefined
        readonly trustkey?: string | undefined
        readonly signingkeyfile?: string | undefined
      }
    | undefined
}

/** Go writes and reads its regular expressions in its own way: `findPattern`. */
const pattern = leaf('a regular expression, of what Go and JavaScript have in common', findPattern)

export const validationSchema: Schema<ValidationInput> = section({
  enabled: flag,
  disabled: flag,
  manifests: section({
    urls: section({ allow: list(pattern), deny: list(pattern) }),
    indexes: section({
      platforms: oneOf(['all', 'none', 'list']),
      platformlist: list(section({ architecture: text, os: text })),
    }),
  }),
})

export const policySchema: Schema<PolicyInput> = section({ repository: section({ classes: list(text) }) })

export const compatibilitySchema: Schema<CompatibilityInput> = section({
  schema1: section({ enabled: flag, trustkey: text, signingkeyfile: text }),
})

/**
 * The same pattern for JavaScript's `u` mode, which refuses what it would else read in another way than Go: `\z` is no
 * letter z in Go, and `[[:alpha:]]` is one class. Go lets any punctuation be escaped, and flags stand at the front.
 */
function findPattern(source: string): string | undefined {
  const escaped = source.replace(/\\([\s\S])/g, (pair: string, character: string) =>
    /[\x20-\x7e]/.test(character) && /[^A-Za-z0-9^$\\.*+?()[\]{}|/]/.test(character)
      ? `\\x${character.charCodeAt(0).toString(16)}`
      : pair,
  )
  const grouped = escaped.replace(/^\(\?([ims]+)\)([\s\S]*)$/, '(?$1:$2)')
  try {
    RegExp(grouped, 'u')
    return grouped
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** @throws ConfigError where a platform of the list is only half of one */
export function resolveValidation(input: ValidationInput, context: ResolveContext): ValidationConfig {
  const { urls = {}, indexes = {} } = input.manifests ?? {}
  const platforms = indexes.platforms ?? 'all'
  const platformList = (indexes.platformlist ?? []).map(({ architecture, os }, index) => {
    const path = ['validation', 'manifests', 'indexes', 'platformlist', index]
    if (architecture === undefined) throw misfit([...path, 'architecture'], undefined, 'text')
    if (os === undefined) throw misfit([...path, 'os'], undefined, 'text')
    return { architecture, os }
  })
  if (platformList.length > 0 && platforms !== 'list') {
    context.warn('validation.manifests.indexes.platformlist has no effect unless platforms is list')
  }
  if (input.enabled === false && input.disabled !== true) {
    context.warn('validation.enabled has no effect; disabled: true is how validation is switched off')
  }
  return {
    disabled: input.disabled ?? false,
    urls: { allow: urls.allow ?? [], deny: urls.deny ?? [] },
    indexes: { platforms, platformList },
  }
}

export function resolvePolicy(input: PolicyInput): PolicyConfig {
  return { classes: input.repository?.classes ?? [] }
}

export function resolveSchema1(input: CompatibilityInput, context: ResolveContext): Schema1Config {
  const { enabled = false, trustkey, signingkeyfile } = input.schema1 ?? {}
  if (trustkey !== undefined && signingkeyfile !== undefined) {
    context.warn('compatibility.schema1.signingkeyfile has no effect beside trustkey')
  }
  const [name, path] = trustkey === undefined ? ['signingkeyfile', signingkeyfile] : ['trustkey', trustkey]
  if (path === undefined) return { enabled, keyFile: undefined }
  return { enabled, keyFile: { key: `compatibility.schema1.${name}`, path: resolvePath(path, context) } }
}
