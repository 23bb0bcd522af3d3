// Where everything lies. Below `/docker/registry/v2` it is CNCF distribution's tree, path for path, so that a folder can be
// taken over from it and given back; what is ours alone lies beside it and may be thrown away at any time.
//
//   /docker/registry/v2/
//     blobs/sha256/<first two hex>/<hex>/data               the bytes, whoever may see them
//     repositories/<name>/
//       _layers/<algorithm>/<hex>/link                      this blob is visible in <name>
//       _manifests/
//         revisions/<algorithm>/<hex>/link                  this manifest is visible in <name>
//         tags/<tag>/
//           current/link                                    what the tag points at
//           index/<algorithm>/<hex>/link                    everything that it ever pointed at
//       _uploads/<uuid>/
//         data                                              bytes so far
//         startedat                                         2026-01-02T03:04:05Z
//   /entrepot/
//     ledger.sqlite, census.sqlite                          what eviction knows (src/ledger)
//     tmp/<owner>.<uuid>                                    a file of the driver that is not whole yet
//     fills/<algorithm>-<hex>.<owner>.<uuid>                a blob on its way from an upstream to a process
//     fills/<algorithm>-<hex>.kept.<uuid>                   as far as one came
//     aliases/<algorithm>/<first two hex>/<hex>/link        the sha256 of a blob that is known by another digest
//     damaged/<hex>                                         a blob's file whose bytes were found wrong
//     scrub                                                 how far the reading of all blobs has come
//     swept/<uuid>/                                         taken out of the tree, and looked at once more before it goes
//       alive                                               written now and then by the process whose batch it is
//       <path, written as a name>                           a file that was there
//     collected                                             touched by each collection of garbage when it begins and ends
//     referrers/<name>/
//       _subjects/<algorithm>/<hex>/<algorithm>-<hex>       a manifest of <name>, and before it the subject that it names
//       _read                                               the manifests of <name> that were read for their subjects
//       _upstream/<algorithm>/<hex>                         what an upstream said last: the referrers of this subject
//
// A link holds a digest as text, without a newline: always a sha256, under which the bytes are stored.
import { temporaryFolder, type DriverPath } from '../drivers/driver.ts'
import { algorithmOf, hexOf, isDigest, type Digest } from '../oci/digest.ts'
import type { RepositoryName, Tag } from '../oci/reference.ts'
import type { UploadId } from '../registry/store.ts'

/** What a link makes visible; distribution's `_layers` holds configs too. */
export type LinkKind = 'blobs' | 'manifests'

const root = '/docker/registry/v2'
export const repositoriesRoot: DriverPath = `${root}/repositories`
export const manifestsFolder: string = '_manifests'
export const fillsFolder: DriverPath = '/entrepot/fills'
const damagedFolder: DriverPath = '/entrepot/damaged'
export const sweptFolder: DriverPath = '/entrepot/swept'
export const collectedPath: DriverPath = '/entrepot/collected'
export const referrersRoot: DriverPath = '/entrepot/referrers'
export const aliasesRoot: DriverPath = '/entrepot/aliases'
export const scrubPath: DriverPath = '/entrepot/scrub'
export const blobsRoot: DriverPath = `${root}/blobs`

/** Folders whose files nobody misses once they are old. */
export const sweptFolders: readonly DriverPath[] = [temporaryFolder, fillsFolder, damagedFolder]

const linkFolders: Readonly<Record<LinkKind, string>> = {
  blobs: '_layers',
  manifests: `${manifestsFolder}/revisions`,
}

/** The folder of one blob, which holds nothing else. */
export function blobFolder(digest: Digest): DriverPath {
  return `${blobsRoot}/${sharded(digest)}`
}

export function blobPath(digest: Digest): DriverPath {
  return `${blobFolder(digest)}/data`
}

export function repositoryPath(name: RepositoryName): DriverPath {
  return `${repositoriesRoot}/${name}`
}

/** The folder of a repository's links of one kind; a folder in it for each algorithm. */
export function linksRoot(name: RepositoryName, kind: LinkKind): DriverPath {
  return `${repositoryPath(name)}/${linkFolders[kind]}`
}

/** The folder of a repository's links of one kind and algorithm; their names are the digests' hex. */
export function linksFolder(name: RepositoryName, kind: LinkKind, algorithm: string): DriverPath {
  return `${linksRoot(name, kind)}/${algorithm}`
}

/** The folder of one link, which holds nothing else. */
export function linkFolder(name: RepositoryName, kind: LinkKind, digest: Digest): DriverPath {
  return `${linksFolder(name, kind, algorithmOf(digest))}/${hexOf(digest)}`
}

export function linkPath(name: RepositoryName, kind: LinkKind, digest: Digest): DriverPath {
  return `${linkFolder(name, kind, digest)}/link`
}

/** Where distribution 2.4 and older kept what a schema 1 manifest was signed with. */
export function signaturesFolder(name: RepositoryName, digest: Digest): DriverPath {
  return `${linkFolder(name, 'manifests', digest)}/signatures`
}

export function isLinkPath(path: DriverPath): boolean {
  return path.endsWith('/link')
}

export function tagsFolder(name: RepositoryName): DriverPath {
  return `${repositoryPath(name)}/${manifestsFolder}/tags`
}

export function tagFolder(name: RepositoryName, tag: Tag): DriverPath {
  return `${tagsFolder(name)}/${tag}`
}

export function tagCurrentPath(name: RepositoryName, tag: Tag): DriverPath {
  return `${tagFolder(name, tag)}/current/link`
}

export function tagIndexPath(name: RepositoryName, tag: Tag, digest: Digest): DriverPath {
  return `${tagFolder(name, tag)}/index/${algorithmOf(digest)}/${hexOf(digest)}/link`
}

export function uploadsFolder(name: RepositoryName): DriverPath {
  return `${repositoryPath(name)}/_uploads`
}

export function uploadFolder(name: RepositoryName, id: UploadId): DriverPath {
  return `${uploadsFolder(name)}/${id}`
}

export function uploadDataPath(name: RepositoryName, id: UploadId): DriverPath {
  return `${uploadFolder(name, id)}/data`
}

export function uploadStartedAtPath(name: RepositoryName, id: UploadId): DriverPath {
  return `${uploadFolder(name, id)}/startedat`
}

/** The file of a blob that `whose` process is filling. */
export function fillPath(digest: Digest, whose: string, id: UploadId): DriverPath {
  return `${fillsFolder}/${algorithmOf(digest)}-${hexOf(digest)}.${whose}.${id}`
}

/** Reads what `fillPath` has made; `undefined` for any other path. */
export function parseFillPath(path: DriverPath): { readonly digest: Digest; readonly whose: string } | undefined {
  if (!path.startsWith(`${fillsFolder}/`)) return undefined
  const name = path.slice(fillsFolder.length + 1)
  const [, algorithm = '', hex = '', whose = ''] = /^([a-z0-9]+)-([0-9a-f]+)\.([^.]+)\.[^.]+$/.exec(name) ?? []
  const digest = `${algorithm}:${hex}`
  return isDigest(digest) ? { digest, whose } : undefined
}

/** The folder of one alias, which holds nothing else. */
export function aliasFolder(digest: Digest): DriverPath {
  return `${aliasesRoot}/${sharded(digest)}`
}

export function aliasPath(digest: Digest): DriverPath {
  return `${aliasFolder(digest)}/link`
}

export function damagedPath(digest: Digest): DriverPath {
  return `${damagedFolder}/${hexOf(digest)}`
}

export function referrersFolder(name: RepositoryName): DriverPath {
  return `${referrersRoot}/${name}`
}

/** The folder of subjects of one algorithm; their names are the digests' hex. */
export function subjectsFolder(name: RepositoryName, algorithm: string): DriverPath {
  return `${referrersFolder(name)}/_subjects/${algorithm}`
}

/** The folder of a subject's referrers. */
export function subjectFolder(name: RepositoryName, subject: Digest): DriverPath {
  return `${subjectsFolder(name, algorithmOf(subject))}/${hexOf(subject)}`
}

export function referrerPath(name: RepositoryName, subject: Digest, referrer: Digest): DriverPath {
  return `${subjectFolder(name, subject)}/${algorithmOf(referrer)}-${hexOf(referrer)}`
}

export function readManifestsPath(name: RepositoryName): DriverPath {
  return `${referrersFolder(name)}/_read`
}

/** As `subjectsFolder`, of files with what an upstream said. */
export function upstreamReferrersFolder(name: RepositoryName, algorithm: string): DriverPath {
  return `${referrersFolder(name)}/_upstream/${algorithm}`
}

export function upstreamReferrersPath(name: RepositoryName, subject: Digest): DriverPath {
  return `${upstreamReferrersFolder(name, algorithmOf(subject))}/${hexOf(subject)}`
}

function sharded(digest: Digest): string {
  const hex = hexOf(digest)
  return `${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}`
}
