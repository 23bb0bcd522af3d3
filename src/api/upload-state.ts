// The signed state that an upload's Location carries: whose session it is and how far it has come. The same form as
// distribution's, so that replicas of both can share a secret: base64url(HMAC-SHA256(secret, json) + json).
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { RepositoryName } from '../oci/reference.ts'

export interface UploadState {
  readonly name: RepositoryName
  readonly id: string
  /** Bytes that the session held. */
  readonly offset: number
  readonly startedAt: Date
}

const macLength = 32

/** Longer than any state is: a repository's name is the longest part of one. */
const maxTextLength = 1024

export function signUploadState(state: UploadState, secret: string): string {
  const json = Buffer.from(
    JSON.stringify({
      Name: state.name,
      UUID: state.id,
      Offset: state.offset,
      StartedAt: state.startedAt.toISOString(),
    }),
  )
  return padded(Buffer.concat([macOf(json, secret), json]).toString('base64url'))
}

/** The offset of a state that we signed for exactly this repository and session; `undefined` for any other text. */
export function verifyUploadState(
  text: string,
  name: RepositoryName,
  id: string,
  secret: string,
): { readonly offset: number } | undefined {
  if (text.length > maxTextLength) return undefined
  const bytes = Buffer.from(text, 'base64url')
  const encoded = bytes.toString('base64url')
  if (bytes.byteLength <= macLength || (text !== encoded && text !== padded(encoded))) {
    return undefined // not the text that encodes these bytes
  }
  const json = bytes.subarray(macLength)
  if (!timingSafeEqual(bytes.subarray(0, macLength), macOf(json, secret))) return undefined
  const state: unknown = JSON.parse(json.toString()) // ours: we signed it
  if (typeof state !== 'object' || state === null || !('Name' in state && 'UUID' in state && 'Offset' in state)) {
    return undefined
  }
  if (state.Name !== name || state.UUID !== id || typeof state.Offset !== 'number') return undefined
  return { offset: state.Offset }
}

function macOf(json: Uint8Array, secret: string): Buffer {
  return createHmac('sha256', secret).update(json).digest()
}

function padded(base64url: string): string {
  return base64url.padEnd(Math.ceil(base64url.length / 4) * 4, '=')
}
