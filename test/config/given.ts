// Loads a configuration from text, as if it had been a file.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../../src/config/config-error.ts'
import { loadConfig, type LoadedConfig } from '../../src/config/load.ts'

export type Env = Readonly<Record<string, string | undefined>>

export const cwd = '/srv/registry'

/** A folder of files, removed when it goes out of scope. */
export function folder(files: Readonly<Record<string, string>>): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'entrepot-config-'))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content)
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

export function load(yaml: string, env: Env = {}): LoadedConfig {
  using files = folder({ 'config.yml': yaml })
  return loadConfig({ path: join(files.path, 'config.yml'), env: { HOME: '/home/me', ...env }, cwd })
}

/** What a file needs at least. */
export const minimal = 'version: 0.1\nstorage: inmemory\n'

/** The one line a configuration is refused with. */
export function refusal(yaml: string, env: Env = {}): string {
  return refusalOf(() => load(yaml, env))
}

export function refusalOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    assert.doesNotMatch(error.message, /\n/)
    return error.message
  }
  return assert.fail('the configuration was accepted')
}
