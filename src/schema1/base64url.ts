// base64url without padding (RFC 7515 §2), in its one canonical spelling.

export function encodeBase64url(bytes: Uint8Array | string): string {
  return Buffer.from(bytes).toString('base64url')
}

/** Undefined where `text` is not exactly what encoding its bytes would write: padding, white space, spare bits. */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}
