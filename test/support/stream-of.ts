// A stream of chunks, for tests.
import type { ByteStream } from '../../src/bytes/stream.ts'

export function streamOf(...chunks: readonly Uint8Array[]): ByteStream {
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
      yield* chunks
    },
    async [Symbol.asyncDispose](): Promise<void> {},
  }
}
