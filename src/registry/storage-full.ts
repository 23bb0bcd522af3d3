// What a store fails with for want of room.

/** As Node has them: no room is left, or none for this user. */
const codes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT'])

export function isStorageFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && codes.has(error.code)
}
