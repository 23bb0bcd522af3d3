// What the operator wants of pushed manifests, as rules: distribution's `validation` and `policy` sections.
import type { ManifestDescriptor, Platform } from '../oci/manifest.ts'
import type { ManifestRules } from './manifest-check.ts'

export interface ManifestValidation {
  /** Neither URLs nor the children of indexes are looked at. */
  readonly disabled: boolean
  /** Patterns for URLs of foreign layers, for `RegExp` in `u` mode, each on its own and unanchored. */
  readonly urls: { readonly allow: readonly string[]; readonly deny: readonly string[] }
  readonly indexes: {
    /** Which children of an index must be here; `list`: those in `platformList`. */
    readonly platforms: 'all' | 'none' | 'list'
    readonly platformList: readonly Platform[]
  }
}

export interface ManifestPolicy {
  readonly classes: readonly string[]
}

export function manifestRules(validation: ManifestValidation, policy: ManifestPolicy): ManifestRules {
  const { disabled, urls, indexes } = validation
  return {
    disabled,
    isAllowedUrl: urlRule(urls.allow, urls.deny),
    isRequiredChild: childRule(indexes.platforms, indexes.platformList),
    classes: policy.classes,
  }
}

/** Longer URLs are not shown to a pattern: one that goes back and forth over them would hold up everyone. */
const maxUrlLength = 2048

function urlRule(allow: readonly string[], deny: readonly string[]): ManifestRules['isAllowedUrl'] {
  const allowed = allow.map((pattern) => new RegExp(pattern, 'u'))
  const denied = deny.map((pattern) => new RegExp(pattern, 'u'))
  if (allowed.length === 0 && denied.length === 0) return () => false
  return (url) =>
    isPlainUrl(url) &&
    (allowed.length === 0 || allowed.some((pattern) => pattern.test(url))) &&
    !denied.some((pattern) => pattern.test(url))
}

/** As it stands, http or https and without a fragment: what a parser would mend (spaces, `\`) means two things. */
function isPlainUrl(url: string): boolean {
  return (
    url.length <= maxUrlLength && /^https?:\/\/(?![/?#])[!-~]+$/i.test(url) && !/[\\#]/.test(url) && URL.canParse(url)
  )
}

/** Of a platform only these two words count; a child that names none is in no list. */
function childRule(
  platforms: ManifestValidation['indexes']['platforms'],
  platformList: readonly Platform[],
): ManifestRules['isRequiredChild'] {
  if (platforms !== 'list') return () => platforms === 'all'
  return ({ platform }: ManifestDescriptor) =>
    platformList.some(({ architecture, os }) => platform?.architecture === architecture && platform.os === os)
}
