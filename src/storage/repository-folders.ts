// Every folder that a repository keeps something in, also where it holds no manifest: a walk for those who clean up.
import { DriverError, PathNotFoundError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { repositoriesRoot, repositoryPath } from './layout.ts'

export interface RepositoryFolder {
  /** Maybe one that is none to us: distribution 2 took capital letters in the first component, as a host's name has them. */
  readonly name: RepositoryName
  /** The names in it. */
  readonly inside: readonly string[]
}

export interface RepositoryWalkOptions {
  /** Takes a folder that could not be read, or is gone though it was there a moment ago; the walk goes on. */
  readonly onFailure: (path: DriverPath, error: unknown) => void
  readonly signal?: AbortSignal | undefined
}

/** Whoever relies on having seen every folder must not ignore `onFailure`. */
export async function* walkRepositoryFolders(
  driver: StorageDriver,
  options: RepositoryWalkOptions,
): AsyncGenerator<RepositoryFolder, void> {
  yield* walk(driver, '', await namesOf(driver, repositoriesRoot, options.onFailure), options)
}

async function* walk(
  driver: StorageDriver,
  prefix: string,
  components: readonly string[],
  options: RepositoryWalkOptions,
): AsyncGenerator<RepositoryFolder, void> {
  for (const component of components) {
    const name = prefix + component
    if (!isFolderOfRepositories(name)) continue
    options.signal?.throwIfAborted()
    const inside = await namesOf(driver, repositoryPath(name), options.onFailure)
    if (inside.some((entry) => entry.startsWith('_'))) yield { name, inside }
    yield* walk(driver, `${name}/`, inside, options)
  }
}

/** Parts of a repository begin with `_`; all else may be one, of this registry or an older one. */
function isFolderOfRepositories(path: string): path is RepositoryName {
  return !path.slice(path.lastIndexOf('/') + 1).startsWith('_')
}

async function namesOf(
  driver: StorageDriver,
  path: DriverPath,
  onFailure: RepositoryWalkOptions['onFailure'],
): Promise<readonly string[]> {
  try {
    return await driver.list(path)
  } catch (error) {
    if (path === repositoriesRoot || !(await isNobodys(driver, path, error))) onFailure(path, error)
    return []
  }
}

/**
 * A file among folders is nobody's repository, nor is a link to itself. One that leads nowhere may be somebody's, whose part of
 * the tree is not mounted now: what is linked there must not be taken for garbage.
 */
async function isNobodys(driver: StorageDriver, path: DriverPath, error: unknown): Promise<boolean> {
  if (error instanceof DriverError) return error.code === 'ENOTFILE'
  try {
    return error instanceof PathNotFoundError && (await driver.stat(path)).kind === 'file'
  } catch {
    return false // whatever it is, it counts as a folder that could not be read
  }
}
