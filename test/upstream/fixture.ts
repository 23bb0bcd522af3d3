// What most tests of this room need: an upstream client with short limits, and content to serve.
import assert from 'node:assert/strict'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag, type RepositoryName, type Tag } from '../../src/oci/reference.ts'
import { UpstreamError, type UpstreamFailure } from '../../src/registry/upstream-error.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { anonymousAccess, fixedCredentials, type CredentialSource } from '../../src/upstream/credentials.ts'
import { UpstreamRegistry, type UpstreamOptions } from '../../src/upstream/upstream-registry.ts'

export const name: RepositoryName = parseRepositoryName('library/alpine')
export const latest: Tag = parseTag('latest')

export const manifest: Buffer = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }),
)
export const manifestDigest: Digest = digestOf(manifest)

export const blob: Buffer = Buffer.from('0123456789'.repeat(100))
export const blobDigest: Digest = digestOf(blob)

/** What must never be seen where it does not belong. */
export const canary = 'canary-1f6ad1'

export function password(secret: string = canary): CredentialSource {
  return fixedCredentials({ kind: 'password', username: 'alice', password: secret })
}

export function upstreamAt(url: URL, options: Partial<UpstreamOptions> = {}): UpstreamRegistry {
  return new UpstreamRegistry({
    url,
    credentials: anonymousAccess(),
    realms: [],
    timeouts: { connect: 2000, firstByte: 2000, idle: 2000 },
    reserve: 0,
    userAgent: 'entrepot/test',
    logger: silentLogger,
    ...options,
  })
}

/** Waits for a failure, and checks that it says what happened without giving a secret away. */
export async function failure(work: Promise<unknown>, expected: UpstreamFailure): Promise<UpstreamError> {
  try {
    await work
  } catch (error) {
    assert.ok(error instanceof UpstreamError, `not an UpstreamError: ${String(error)}`)
    assert.equal(error.failure, expected, error.message)
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      assert.doesNotMatch(cause.message, new RegExp(canary))
    }
    return error
  }
  throw new assert.AssertionError({ message: `expected ${expected}, but it went well` })
}
