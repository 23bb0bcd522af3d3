// How storage can fail whoever reads it. «It has no such thing» is no failure: that is a RegistryError of the contract.
import { isAbsence } from '../oci/error.ts'

/** It is here, or may be, and the medium does not give it out. Whoever can have it from elsewhere should. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError'
}

/** Whether something cannot be had from here: it is absent, or cannot be read. */
export function isMissing(error: unknown): boolean {
  return isAbsence(error) || error instanceof UnreadableError
}

/** What was found, or `undefined` where it is missing; every other failure is thrown on. */
export async function ifReadable<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/**
 * What to say of something that is missing here, when nobody else has given it to us either: that nobody else has it is no
 * answer where it is here and cannot be read.
 */
export function worse(here: unknown, elsewhere: unknown): unknown {
  return here instanceof UnreadableError && isAbsence(elsewhere) ? here : elsewhere
}
