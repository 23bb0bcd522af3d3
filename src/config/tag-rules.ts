// Rules for single tags of an upstream: how long those that match a pattern are served without asking.
import { misfit, type KeyPath } from './config-error.ts'
import { duration, leaf } from './leaf.ts'
import { list, section, type Schema } from './section.ts'

export interface TagRule {
  /** A pattern for `RegExp` in `u` mode, unanchored. */
  readonly match: string
  readonly freshness: number
}

export interface TagRuleInput {
  readonly match?: string | undefined
  readonly freshness?: number | undefined
}

const patternForm = 'a regular expression of JavaScript, such as ^v\\d'

const pattern = leaf(patternForm, (value) => {
  try {
    RegExp(value, 'u')
    return value
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
})

export const tagRulesSchema: Schema<TagRuleInput[]> = list(section({ match: pattern, freshness: duration }))

/** @throws ConfigError where a rule is only half of one */
export function resolveTagRules(rules: readonly TagRuleInput[], at: KeyPath): TagRule[] {
  return rules.map(({ match, freshness }, index) => {
    if (match === undefined) throw misfit([...at, index, 'match'], undefined, patternForm)
    if (freshness === undefined) throw misfit([...at, index, 'freshness'], undefined, 'a duration such as 30d')
    return { match, freshness }
  })
}
