// An upstream that knows its people by Basic authentication, and a registry before it that leaves the decision to it.
import { startAppUnderTest, type AppUnderTest } from '../support/app-under-test.ts'
import { ask, type Answer } from '../support/client.ts'
import { startOrigin, type Image, type Origin } from '../support/origin.ts'
import { basic } from './fixture.ts'

/** Who may pull which repositories, beside those under `public/`; each password is `<user>-password`. */
const people: Readonly<Record<string, RegExp>> = {
  us: /./,
  alice: /^team\//,
  carol: /^team\//,
  bob: /^(?:other|none)\//,
}

export interface PrivateUpstream extends AsyncDisposable {
  readonly origin: Origin
  /** Every request: `<user> METHOD path`; `-` for nobody that it knows. */
  readonly seen: string[]
  /** Every `Authorization` that came. */
  readonly shown: Set<string>
}

export async function startPrivateUpstream(): Promise<PrivateUpstream> {
  const origin = await startOrigin()
  const seen: string[] = []
  const shown = new Set<string>()
  origin.dial = ({ method, path, headers: { authorization } }) => {
    if (authorization !== undefined) shown.add(authorization)
    const user = Object.keys(people).find((one) => authorization === basic(one, `${one}-password`))
    seen.push(`${user ?? '-'} ${method} ${path}`)
    const [, name = ''] = /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(path) ?? []
    if (name.startsWith('public/')) return undefined
    if (user === undefined) return { reply: { status: 401, headers: { 'www-authenticate': 'Basic realm="theirs"' } } }
    return people[user]?.test(name) === true ? undefined : { reply: { status: 403, headers: {} } }
  }
  return { origin, seen, shown, [Symbol.asyncDispose]: async () => await origin[Symbol.asyncDispose]() }
}

export interface Door extends AsyncDisposable {
  readonly app: AppUnderTest
  readonly upstream: PrivateUpstream
  /** In `team/app` under `1`, which `us` have pulled through: it is here. */
  readonly image: Image
  /** As `ask`, with the path and who asks. */
  readonly as: (user: string | undefined, path: string, options?: Parameters<typeof ask>[1]) => Promise<Answer>
}

export const manifestTypes = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json'

/** `keys`: more of the upstream's; `sections`: more of the whole configuration, its upstreams beside the private one. */
export async function startDoor(
  keys: Record<string, unknown> = {},
  { proxy, ...sections }: { readonly proxy?: { readonly upstreams?: object }; readonly [name: string]: unknown } = {},
): Promise<Door> {
  await using opening = new AsyncDisposableStack()
  const upstream = opening.use(await startPrivateUpstream())
  const { origin } = upstream
  const image = await origin.addImage('team/app', '1', [Buffer.from('a private layer')])
  await origin.addImage('other/app', '1', [Buffer.from('another private layer')])
  await origin.addImage('public/app', '1', [Buffer.from('a public layer')])
  const own = { url: origin.url, access: 'client', username: 'us', password: 'us-password', ...keys }
  const app = opening.use(
    await startAppUnderTest({
      storage: { inmemory: {}, delete: { enabled: true } },
      proxy: { ...proxy, upstreams: { priv: own, ...proxy?.upstreams } },
      ...sections,
    }),
  )
  const as: Door['as'] = async (user, path, options = {}) => {
    const authorization = user === undefined ? {} : { authorization: credentialsOf(user) }
    return await ask(`${app.url}${path}`, {
      ...options,
      headers: { accept: manifestTypes, ...authorization, ...options.headers },
    })
  }
  const resources = opening.move()
  return { app, upstream, image, as, [Symbol.asyncDispose]: async () => await resources.disposeAsync() }
}

/** `alice`: with her password; `alice:x`: with that one. */
export function credentialsOf(user: string): string {
  const [name = '', password = `${name}-password`] = user.split(':')
  return basic(name, password)
}

/** Pulls all of the image in `team/app`, so that it is here. */
export async function pullPrivate({ as, image }: Door): Promise<void> {
  for (const path of pathsOf('priv/team/app', image)) {
    const { status } = await as('alice', path)
    if (status !== 200) throw new Error(`${path}: ${status}`)
  }
}

/** What can be read of a repository that holds the image. */
export function pathsOf(name: string, { manifest, config, layers }: Image): string[] {
  return [
    `/v2/${name}/manifests/1`,
    `/v2/${name}/manifests/${manifest}`,
    `/v2/${name}/blobs/${config}`,
    ...layers.map((layer) => `/v2/${name}/blobs/${layer}`),
    `/v2/${name}/tags/list`,
    `/v2/${name}/referrers/${manifest}`,
  ]
}
