// GET of a manifest's referrers: an index of all that name it as their subject (distribution-spec, «Listing Referrers»).
import type { Reply } from '../http/exchange.ts'
import type { Digest } from '../oci/digest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import type { CallOptions } from '../registry/call.ts'
import type { ReferrersSource } from '../registry/source.ts'
import type { ListTarget } from './listing.ts'

export interface ReferrersPage {
  readonly entries: number
  /** Of the entries; one that is larger is sent alone. */
  readonly bytes: number
}

/** What clients read: some take no index of more than 4 MiB. */
const usualPage: ReferrersPage = { entries: 1000, bytes: 4_000_000 }

/** An unknown subject has no referrers, nor has an unknown repository: 404 would say that there is no such API. */
export async function listReferrers(
  referrers: ReferrersSource,
  subject: Digest,
  target: ListTarget,
  call: CallOptions,
  page: ReferrersPage = usualPage,
): Promise<Reply> {
  const artifactType = target.query.get('artifactType') ?? ''
  const after = target.query.get('last') ?? undefined
  const entries: string[] = []
  let bytes = 0
  let last: Digest | undefined
  let next: Digest | undefined
  for await (const referrer of referrers.list(subject, { ...call, after })) {
    if (artifactType !== '' && referrer.artifactType !== artifactType) continue
    const entry = JSON.stringify(referrer)
    bytes += Buffer.byteLength(entry)
    if (entries.length === page.entries || (bytes > page.bytes && entries.length > 0)) {
      next = last
      break
    }
    entries.push(entry)
    last = referrer.digest
  }
  const body = Buffer.from(`{"schemaVersion":2,"mediaType":"${mediaTypes.ociIndex}","manifests":[${entries.join()}]}`)
  return {
    status: 200,
    headers: {
      'content-type': mediaTypes.ociIndex,
      'content-length': body.byteLength,
      ...(artifactType === '' ? {} : { 'oci-filters-applied': 'artifactType' }),
      ...(next === undefined ? {} : { link: `<${nextPage(target, next)}>; rel="next"` }),
    },
    body,
  }
}

function nextPage({ path, query }: ListTarget, last: Digest): string {
  const next = new URLSearchParams({ last })
  for (const name of ['artifactType', 'ns']) {
    const value = query.get(name)
    if (value !== null) next.set(name, value)
  }
  return `${path}?${next.toString()}`
}
