// Reading the ledger's tables: what is in them is checked, as with any file.
import type { SQLOutputValue } from 'node:sqlite'
import { isDigest, type Digest } from '../oci/digest.ts'
import { LedgerDamageError } from './database.ts'

export function textIn(value: SQLOutputValue | undefined): string {
  if (typeof value === 'string') return value
  throw new LedgerDamageError('the ledger holds something else than text')
}

export function digestIn(value: SQLOutputValue | undefined): Digest {
  const digest = textIn(value)
  if (isDigest(digest)) return digest
  throw new LedgerDamageError('the ledger holds something else than a digest')
}
