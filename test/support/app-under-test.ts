// The whole server in this process, on a free port, from a configuration as an operator writes it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startApp, type App } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { recordingLogger, type Recording } from './recording-logger.ts'

export interface AppUnderTest extends AsyncDisposable, Recording {
  readonly url: string
  readonly app: App
}

/** `sections`: top-level keys of a config.yml, as JSON (which is YAML); storage is in memory unless they say otherwise. */
export async function startAppUnderTest(
  sections: Record<string, unknown>,
  env: Record<string, string> = {},
): Promise<AppUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-test-'))
  try {
    const path = join(folder, 'config.yml')
    const config = {
      version: 0.1,
      storage: { inmemory: {} },
      http: { addr: '127.0.0.1:0', draintimeout: '0s' },
      ...sections,
    }
    await writeFile(path, JSON.stringify(config))
    const loaded = loadConfig({ path, env, cwd: folder })
    const recording = recordingLogger()
    const app = await startApp(loaded.config, recording.logger)
    return { ...recording, url: app.url, app, [Symbol.asyncDispose]: async () => await app[Symbol.asyncDispose]() }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** A folder that is removed at the end, also where a server that was stopped still ends what it had begun. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'entrepot-test-'))
  return { path, [Symbol.asyncDispose]: async () => await rm(path, { recursive: true, force: true, maxRetries: 10 }) }
}
