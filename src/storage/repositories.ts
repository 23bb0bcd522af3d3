// The repositories that hold something: a walk over their folders, since nothing else lists them.
import { DriverError, type DriverPath, type StorageDriver } from '../drivers/driver.ts'
import { isRepositoryName, type RepositoryName } from '../oci/reference.ts'
import type { ListOptions } from '../registry/source.ts'
import { manifestsFolder, repositoriesRoot, repositoryPath } from './layout.ts'
import { namesIn } from './links.ts'
import { indexOf } from './listing-cache.ts'

export interface RepositoryListOptions extends ListOptions {
  /** Takes a folder that this user may not read: neither it nor what lies below it is in the list. */
  readonly onDenied: (path: DriverPath, error: DriverError) => void
}

/**
 * Component by component in byte order, so that `a/b` comes before `a-b`. What lies before `options.after` is not walked;
 * what comes or goes meanwhile may or may not be in the list.
 */
export async function* walkRepositories(
  driver: StorageDriver,
  options: RepositoryListOptions,
): AsyncGenerator<RepositoryName, void> {
  const top = await namesIn(driver, repositoriesRoot)
  yield* walk(driver, '', top, options.after?.split('/') ?? [], options)
}

async function* walk(
  driver: StorageDriver,
  prefix: string,
  components: readonly string[],
  after: readonly string[],
  options: RepositoryListOptions,
): AsyncGenerator<RepositoryName, void> {
  const [first = '', ...rest] = after
  for (let at = indexOf(components, first); at < components.length; at++) {
    const component = components[at] ?? ''
    const name = prefix + component
    if (!isRepositoryName(name)) continue
    options.signal?.throwIfAborted()
    const inside = await namesOf(driver, repositoryPath(name), options)
    const isPassed = component === first // it is `after` itself, or leads there
    if (!isPassed && inside[indexOf(inside, manifestsFolder)] === manifestsFolder) yield name
    yield* walk(driver, `${name}/`, inside, isPassed ? rest : [], options)
  }
}

/** None where there is something else than a folder: that is nobody's repository. Nor where it may not be read. */
async function namesOf(
  driver: StorageDriver,
  path: DriverPath,
  { onDenied }: RepositoryListOptions,
): Promise<readonly string[]> {
  try {
    return await namesIn(driver, path)
  } catch (error) {
    if (!(error instanceof DriverError)) throw error
    if (error.code === 'EACCES') onDenied(path, error)
    else if (error.code !== 'ENOTFILE') throw error
    return []
  }
}
