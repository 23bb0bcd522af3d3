// Writes a signature into a payload, byte for byte as libtrust does it (see `envelope.ts` for what that looks like).
import { encodeBase64url } from './base64url.ts'
import { Schema1Error } from './envelope.ts'
import type { SigningKey } from './signing-key.ts'

/**
 * Signs a payload that `parseCanonicalManifest` has read or `convertToSchema1` has made.
 * @throws Schema1Error where it does not end like an object with a member
 */
export function signManifest(payload: Uint8Array, key: SigningKey, time: Date): Buffer {
  const text = Buffer.from(payload)
  const formatLength = lengthWithoutEnd(text)
  const protectedHeader = encodeBase64url(
    JSON.stringify({
      formatLength,
      formatTail: encodeBase64url(text.subarray(formatLength)),
      time: `${time.toISOString().slice(0, 19)}Z`,
    }),
  )
  const signature = key.sign(Buffer.from(`${protectedHeader}.${encodeBase64url(text)}`))
  const signatures = [
    {
      header: { jwk: key.jwk, alg: key.algorithm },
      signature: encodeBase64url(signature),
      protected: protectedHeader,
    },
  ]
  return Buffer.concat([text.subarray(0, formatLength), Buffer.from(ending(signatures, indentOf(text)))])
}

/** The payload's bytes but for its last brace and the white space around that. */
function lengthWithoutEnd(payload: Buffer): number {
  const brace = lastCharacter(payload, payload.length)
  const last = lastCharacter(payload, brace)
  if (payload[brace] !== 0x7d || last < 0 || ['{', ','].includes(String.fromCharCode(payload[last] ?? 0))) {
    throw new Schema1Error('the payload does not end like a JSON object')
  }
  return last + 1
}

/** The last byte before `end` that is not white space. */
function lastCharacter(payload: Buffer, end: number): number {
  let at = end - 1
  while (at >= 0 && [0x20, 0x09, 0x0a, 0x0d].includes(payload[at] ?? 0)) at -= 1
  return at
}

/** What stands before the first key, on a line of its own. */
function indentOf(payload: Buffer): string {
  const quote = payload.indexOf('"')
  return payload[0] === 0x7b && payload[1] === 0x0a && quote > 2 ? payload.toString('utf8', 2, quote) : ''
}

function ending(signatures: unknown, indent: string): string {
  if (indent === '') return `,"signatures":${JSON.stringify(signatures)}}`
  // Tabs first, one for each level: JSON.stringify would cut an indent of more than ten characters.
  const lines = JSON.stringify(signatures, null, '\t').replace(/\n(\t*)/g, (_, tabs: string) => {
    return `\n${indent}${indent.repeat(tabs.length)}`
  })
  return `,\n${indent}"signatures": ${lines}\n}`
}
