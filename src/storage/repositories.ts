// The repositories that hold something: a walk over their folders, since nothing else lists them.
import { DriverError, type StorageDriver } from '../drivers/driver.ts'
import { isRepositoryName, type RepositoryName } from '../oci/reference.ts'
import type { ListOptions } from '../registry/source.ts'
import { manifestsFolder, repositoriesRoot, repositoryPath } from './layout.ts'
import { namesIn } from './links.ts'
import { indexOf } from './listing-cache.ts'

/**
 * Component by component in byte order, so that `a/b` comes before `a-b`. What lies before `options.after` is not walked;
 * what comes or goes meanwhile may or may not be in the list.
 */
export async function* walkRepositories(
  driver: StorageDriver,
  options?: ListOptions,
): AsyncGenerator<RepositoryName, void> {
  const top = await namesIn(driver, repositoriesRoot)
  yield* walk(driver, '', top, options?.after?.split('/') ?? [], options?.signal)
}

async function* walk(
  driver: StorageDriver,
  prefix: string,
  components: readonly string[],
  after: readonly string[],
  signal: AbortSignal | undefined,
): AsyncGenerator<RepositoryName, void> {
  const [first = '', ...rest] = after
  for (let at = indexOf(components, first); at < components.length; at++) {
    const component = components[at] ?? ''
    const name = prefix + component
    if (!isRepositoryName(name)) continue
    signal?.throwIfAborted()
    const inside = await namesOf(driver, name)
    const isPassed = component === first // it is `after` itself, or leads there
    if (!isPassed && inside[indexOf(inside, manifestsFolder)] === manifestsFolder) yield name
    yield* walk(driver, `${name}/`, inside, isPassed ? rest : [], signal)
  }
}

/** None where there is something else than a folder: that is nobody's repository. */
async function namesOf(driver: StorageDriver, name: RepositoryName): Promise<readonly string[]> {
  try {
    return await namesIn(driver, repositoryPath(name))
  } catch (error) {
    if (error instanceof DriverError && error.code === 'ENOTFILE') return []
    throw error
  }
}
