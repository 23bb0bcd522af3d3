// What a schema finds wrong with a value, in our words.
import type * as z from 'zod/mini'
import { ConfigError, formatPath, misfit, wrongKind, type KeyPath } from './config-error.ts'
import { nearestKey } from './keys.ts'
import { valueAt } from './tree.ts'
import type { Schema } from './section.ts'

/** `at`: where `value`, which `schema` was asked about, lies in the file. */
export function describeIssue(
  schema: Schema,
  value: unknown,
  issue: z.core.$ZodIssue | undefined,
  at: KeyPath = [],
): ConfigError {
  const path: KeyPath = (issue?.path ?? []).map((key) => (typeof key === 'number' ? key : String(key)))
  const whole = [...at, ...path]
  if (issue?.code === 'unrecognized_keys') return unknownKey(schema, [...path, issue.keys[0] ?? ''], at)
  if (issue?.code === 'invalid_type') {
    return wrongKind(whole, valueAt(value, path), issue.expected === 'array' ? 'a list' : 'a map')
  }
  return misfit(whole, valueAt(value, path), issue?.message ?? 'something else')
}

function unknownKey(schema: Schema, path: KeyPath, at: KeyPath): ConfigError {
  const near = nearestKey(schema, path)
  const place = at.length === 0 ? '' : `${formatPath(at)}.`
  const hint = near === undefined ? '' : `; did you mean ${place}${near}?`
  return new ConfigError(`${formatPath([...at, ...path])}: unknown key${hint}`)
}
