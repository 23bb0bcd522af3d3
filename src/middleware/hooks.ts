// What a module of an operator's own may export: the names, and for `import type` the shapes, of its hooks. Each is given
// plain data that cannot be changed, and may answer at once or later; docs/middleware.md says what becomes of a hook that
// fails.

/** Which upstream, and which repository there, a pull goes to. `undefined`: as without the hook. `none`: 404 for the client. */
export type RouteHook = (request: RouteRequest) => Answer<Route | 'none' | undefined>

/** Whether a pull may be; asked before anything is looked up or fetched. */
export type AllowHook = (request: PullRequest) => Answer<Verdict>

/** Milliseconds for which a tag is served without asking its upstream again. `undefined`: as configured; 0: asked each time. */
export type FreshnessHook = (request: TagRequest) => Answer<number | undefined>

/** Told when a manifest, a blob or a range of one has been read to its end; nobody waits for it. */
export type PullHook = (pull: Pull) => Answer<void>

export interface Hooks {
  readonly route?: RouteHook
  readonly allow?: AllowHook
  readonly freshness?: FreshnessHook
  readonly onPull?: PullHook
}

type Answer<T> = T | Promise<T>

interface Asked {
  /** Who asks, where they have proven it (`auth`). */
  readonly user: string | undefined
}

export interface RouteRequest extends Asked {
  /** As the client names it. */
  readonly repository: string
  /** The registry that the client means (`?ns=`), where it says so. */
  readonly namespace: string | undefined
}

export interface Route {
  /** The name, or an alias, of a configured upstream; without it, the repository's name decides. */
  readonly upstream?: string | undefined
  /** Instead of what the client asked for. */
  readonly repository?: string | undefined
}

export interface PullRequest extends Asked {
  /** Where the request goes, as `_catalog` lists it: one name, `docker.io/library/alpine`, however clients write it. */
  readonly repository: string
  /** What the upstream is called that it belongs to; `undefined` where it is ours. */
  readonly upstream: string | undefined
  /** `tags` and `referrers` are lists: of a repository's tags, of what points at a manifest. */
  readonly kind: 'manifest' | 'blob' | 'tags' | 'referrers'
  /** The tag or digest; `undefined` for `tags`. */
  readonly reference: string | undefined
}

export interface Verdict {
  readonly allow: boolean
  /** For the client, where it is refused. */
  readonly reason?: string | undefined
}

export interface TagRequest extends Pick<PullRequest, 'repository' | 'upstream' | 'user'> {
  readonly tag: string
}

export interface Pull extends Pick<PullRequest, 'repository' | 'upstream' | 'user'> {
  readonly kind: 'manifest' | 'blob'
  /** As the client asked for it: a tag or a digest. */
  readonly reference: string
  readonly digest: string
  readonly mediaType: string
  /** Bytes of the whole. */
  readonly size: number
  /** Bytes that were sent; 0 where the client was sent elsewhere for them. */
  readonly sent: number
  /** `local`: from our own storage alone. `upstream`: an upstream was asked. `fill`: bytes of a running fill. */
  readonly from: 'local' | 'upstream' | 'fill' | undefined
}
