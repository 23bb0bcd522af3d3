// A publisher with endpoints of a test's own, and events to publish.
import { Publisher, type PublisherOptions } from '../../src/events/publisher.ts'
import type { Event } from '../../src/events/event.ts'
import { recordingLogger, type Recording } from '../support/recording-logger.ts'

type Settings = PublisherOptions['endpoints'][number]

export interface PublisherUnderTest extends AsyncDisposable, Recording {
  readonly publisher: Publisher
  /** Publishes a pull by each of these tags. */
  readonly publish: (...tags: readonly string[]) => void
  /** Milliseconds of each wait for an endpoint that fails, all of which end at once. */
  readonly waits: number[]
}

export function publisherTo(
  endpoints: readonly (Partial<Settings> & Pick<Settings, 'url'>)[],
  options: Partial<PublisherOptions> = {},
): PublisherUnderTest {
  const recording = recordingLogger()
  const waits: number[] = []
  const publisher = new Publisher({
    endpoints: endpoints.map((endpoint, index) => ({
      name: `sink ${index}`,
      headers: {},
      timeout: 30_000,
      threshold: 10,
      backoff: 1000,
      ignoredMediaTypes: [],
      ignoredActions: [],
      cache: false,
      ...endpoint,
    })),
    bounds: { maxEvents: 1000, maxSize: 1024 * 1024 },
    folder: undefined,
    port: 5000,
    userAgent: 'entrepot/test',
    logger: recording.logger,
    wait: async (milliseconds, signal) => {
      waits.push(milliseconds)
      await new Promise(setImmediate)
      signal.throwIfAborted()
    },
    ...options,
  })
  return {
    ...recording,
    publisher,
    waits,
    publish(...tags) {
      for (const tag of tags) publisher.publish(pullOf(tag))
    },
    [Symbol.asyncDispose]: async () => await publisher[Symbol.asyncDispose](),
  }
}

const request = {
  id: '00000000-0000-4000-8000-000000000000',
  address: '192.0.2.1:1234',
  host: 'registry.example',
  method: 'GET',
  userAgent: 'a client',
  base: 'http://registry.example/',
}

export function pullOf(tag: string, mediaType = 'a/manifest'): Extract<Event, { kind: 'registry' }> {
  return { kind: 'registry', action: 'pull', target: { mediaType, repository: 'a', tag }, request, user: undefined }
}
