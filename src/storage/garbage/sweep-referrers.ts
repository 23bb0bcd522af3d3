// Letting go of what is known about subjects that nothing in a repository has to do with any more. It is our own state: a
// server finds out again what it misses.
import type { LimitFunction } from 'p-limit'
import { PathNotFoundError, type DriverPath, type StorageDriver } from '../../drivers/driver.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { isRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import {
  linkPath,
  readManifestsPath,
  referrersFolder,
  referrersRoot,
  repositoryPath,
  subjectFolder,
  subjectsFolder,
  upstreamReferrersFolder,
  upstreamReferrersPath,
} from '../layout.ts'
import type { LinkFiles } from '../link-files.ts'
import { namesIn } from '../links.ts'
import { each } from './each.ts'

export interface SweepReferrersOptions {
  readonly driver: StorageDriver
  readonly files: LinkFiles
  readonly limit: LimitFunction
  /** Files that were written at that time or later stay. */
  readonly cutoff: number
  readonly signal: AbortSignal | undefined
}

/** `named` is what the repository's manifests name: what is known of that stays, and of all that is linked or about. */
export async function sweepReferrers(
  name: RepositoryName,
  named: ReadonlySet<Digest>,
  options: SweepReferrersOptions,
): Promise<void> {
  const { driver, limit } = options
  const subjects = new Set<Digest>()
  for (const algorithm of ['sha256', 'sha512']) {
    for (const folder of [subjectsFolder(name, algorithm), upstreamReferrersFolder(name, algorithm)]) {
      for (const hex of await namesIn(driver, folder)) {
        const subject = `${algorithm}:${hex}`
        if (isDigest(subject) && !named.has(subject)) subjects.add(subject)
      }
    }
  }
  const unneeded = await each(subjects, limit, async (subject) =>
    (await isNeeded(name, subject, options)) ? undefined : subject,
  )
  const doomed = unneeded.filter((subject) => subject !== undefined)
  if (doomed.length === 0) return
  // First, so that nothing that is put back counts as read; and last, so that servers look for what came meanwhile.
  await remove(driver, readManifestsPath(name))
  for (const subject of doomed) {
    options.signal?.throwIfAborted()
    await remove(driver, subjectFolder(name, subject))
    await remove(driver, upstreamReferrersPath(name, subject))
  }
  await remove(driver, readManifestsPath(name))
}

/** What is known in repositories that are gone. */
export async function sweepReferrersOfNobody(options: SweepReferrersOptions): Promise<void> {
  const { driver, signal } = options
  for await (const name of knownRepositories(driver, '')) {
    signal?.throwIfAborted()
    const inside = await namesIn(driver, repositoryPath(name))
    if (!inside.some((entry) => entry.startsWith('_'))) await sweepReferrers(name, new Set(), options)
  }
}

async function* knownRepositories(driver: StorageDriver, prefix: string): AsyncGenerator<RepositoryName, void> {
  const folder = prefix === '' ? referrersRoot : `${referrersRoot}/${prefix.slice(0, -1)}`
  for (const component of await namesIn(driver, folder)) {
    const name = prefix + component
    if (!isRepositoryName(name)) continue
    if ((await namesIn(driver, referrersFolder(name))).some((entry) => entry.startsWith('_'))) yield name
    yield* knownRepositories(driver, `${name}/`)
  }
}

async function isNeeded(name: RepositoryName, subject: Digest, options: SweepReferrersOptions): Promise<boolean> {
  const { driver, files, cutoff } = options
  const isLinked = async (digest: Digest): Promise<boolean> =>
    (await files.read(linkPath(name, 'manifests', digest))) !== undefined
  if (await isLinked(subject)) return true
  if (await isYoung(driver, upstreamReferrersPath(name, subject), cutoff)) return true
  const folder = subjectFolder(name, subject)
  for (const file of await namesIn(driver, folder)) {
    const referrer = file.replace('-', ':')
    if (isDigest(referrer) && (await isLinked(referrer))) return true
    if (await isYoung(driver, `${folder}/${file}`, cutoff)) return true
  }
  return false
}

async function isYoung(driver: StorageDriver, path: DriverPath, cutoff: number): Promise<boolean> {
  try {
    return (await driver.stat(path)).modified.getTime() >= cutoff
  } catch (error) {
    if (error instanceof PathNotFoundError) return false
    throw error
  }
}

async function remove(driver: StorageDriver, path: DriverPath): Promise<void> {
  try {
    await driver.remove(path)
  } catch (error) {
    if (!(error instanceof PathNotFoundError)) throw error
  }
}
