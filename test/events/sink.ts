// An endpoint that remembers what it is told, and an app that tells it.
import assert from 'node:assert/strict'
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { reply, scriptedServer, type Script, type ScriptedServer } from '../support/scripted-server.ts'

export interface Told {
  readonly id: string
  readonly timestamp: string
  readonly action: string
  readonly target: Record<string, unknown>
  readonly request?: Record<string, string>
  readonly actor?: Record<string, string>
  readonly source: { readonly addr: string; readonly instanceID: string }
}

export interface Sink extends ScriptedServer {
  /** Every event, in the order they came. */
  readonly told: Told[]
  /** Resolves when so many have come in all. */
  readonly until: (count: number) => Promise<readonly Told[]>
}

/** `script` answers; without it every event is taken. */
export async function startSink(script: Script = (_, response) => reply(response, 200)): Promise<Sink> {
  const told: Told[] = []
  let look = (): void => {}
  const server = await scriptedServer(async (request, response) => {
    if (request.method === 'POST') {
      const { events } = JSON.parse(request.body) as { events: Told[] }
      assert.equal(events.length, 1)
      told.push(...events)
      look()
    }
    await script(request, response)
  })
  const until: Sink['until'] = async (count) =>
    await new Promise((resolve) => {
      look = () => {
        if (told.length >= count) resolve(told)
      }
      look()
    })
  return { ...server, told, until, [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose]() }
}

export interface TellingOptions {
  readonly endpoint?: Record<string, unknown>
  readonly notifications?: Record<string, unknown>
  readonly sections?: Record<string, unknown>
}

/** A server with deletion enabled that tells the sink. */
export async function startTellingApp(
  sink: { readonly url: URL },
  { endpoint, notifications, sections }: TellingOptions = {},
): Promise<AppUnderTest> {
  return await startAppUnderTest({
    storage: { inmemory: {}, delete: { enabled: true } },
    notifications: { endpoints: [{ name: 'sink', url: sink.url.href, ...endpoint }], ...notifications },
    ...sections,
  })
}
