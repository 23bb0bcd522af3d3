// Modules of an operator's, written into a folder of their own: no two tests share one, as Node loads a path once.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startAppUnderTest, temporaryFolder, type AppUnderTest } from '../support/app-under-test.ts'

export interface ModuleUnderTest {
  readonly source: string
  readonly timeout?: string
  /** Makes it one of repositories. */
  readonly repositories?: readonly string[]
}

export async function startWithModules(
  modules: readonly ModuleUnderTest[],
  sections: Record<string, unknown> = {},
): Promise<AppUnderTest> {
  await using folder = await temporaryFolder()
  const registry: unknown[] = []
  const repository: unknown[] = []
  for (const [index, { source, timeout, repositories }] of modules.entries()) {
    const path = join(folder.path, `module-${index}.ts`)
    await writeFile(path, source)
    const list = repositories === undefined ? registry : repository
    list.push({ name: 'module', options: { path, timeout: timeout ?? '10s', repositories } })
  }
  return await startAppUnderTest({ ...sections, middleware: { registry, repository } })
}
