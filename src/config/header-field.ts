// What a header can be called, and can hold.

/** RFC 9110 §5.1. */
export function isHeaderName(text: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(text)
}

/** RFC 9110 §5.5, less what lies beyond ASCII. */
export function isHeaderValue(text: string): boolean {
  return /^[\t\x20-\x7e]*$/.test(text)
}
