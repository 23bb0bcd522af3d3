import { RegistryError, type ErrorCode } from '../../src/oci/error.ts'

/** For `assert.rejects`: an error that a client may hear, of that code. */
export function hasError(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof RegistryError && error.code === code
}
