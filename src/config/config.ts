// The whole configuration on one page: what the rest of the house may know of it. `loadConfig` makes it: validated,
// resolved, deeply frozen. Durations are milliseconds, sizes are bytes.
import type { Address } from './address.ts'
import type { Network } from './network.ts'

export interface Config {
  readonly log: LogConfig
  readonly http: HttpConfig
  readonly storage: StorageConfig
  /** `undefined`: no redis was named. */
  readonly redis: RedisConfig | undefined
  /** `undefined`: the doors are open. */
  readonly auth: AuthConfig | undefined
  readonly catalog: { readonly maxEntries: number }
  readonly tags: { readonly maxTags: number }
  /** `undefined`: a plain registry, which asks nobody. */
  readonly proxy: ProxyConfig | undefined
  readonly notifications: NotificationsConfig
  readonly validation: ValidationConfig
  readonly policy: PolicyConfig
  readonly schema1: Schema1Config
  readonly middleware: MiddlewareConfig
  readonly health: HealthConfig
  /** `undefined`: no traces are sent. */
  readonly tracing: TracingConfig | undefined
}

/** As OpenTelemetry's own variables have it. */
export interface TracingConfig {
  /** Where spans are sent, whole. */
  readonly endpoint: URL
  /** They may hold a secret. */
  readonly headers: Readonly<Record<string, string>>
  /** What we are called there. */
  readonly service: string
  /** Whether a client's word counts for whether its request is recorded. */
  readonly followsClients: boolean
  /** The part of all others that is recorded, from 0 to 1. */
  readonly ratio: number
}

export interface LogConfig {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  /** `undefined`: not configured; whoever opens the output decides. */
  readonly format: 'json' | 'text' | undefined
  /** Fields that every line carries. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Who gets a mail about which lines. */
  readonly hooks: readonly MailHookConfig[]
}

export interface MailHookConfig {
  readonly levels: readonly LogConfig['level'][]
  readonly smtp: SmtpConfig
  /** `undefined`: whoever sends it, in this machine's name. */
  readonly from: string | undefined
  /** At least one. */
  readonly to: readonly string[]
  /** Mails an hour; one at least. */
  readonly perHour: number
}

export interface SmtpConfig {
  readonly host: string
  readonly port: number
  readonly credentials: { readonly username: string; readonly password: string } | undefined
  /** Any certificate will do, and the password may be sent in the clear. */
  readonly insecure: boolean
}

export interface HttpConfig {
  /** The address to listen on, without brackets; empty: every interface. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** The absolute path of a unix socket, which is listened on instead; `undefined`: none. */
  readonly socket: string | undefined
  /** Begins and ends with `/`. */
  readonly prefix: string
  /** How clients reach us, where it cannot be read off their requests. */
  readonly externalUrl: URL | undefined
  readonly secret: string | undefined
  readonly relativeUrls: boolean
  /** How long running requests may go on after a stop signal. */
  readonly drainTimeout: number
  /** Added to every reply. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  /** A second listener, for whoever operates us; `undefined`: there is none. */
  readonly debug: DebugConfig | undefined
  /** `undefined`: plain HTTP. */
  readonly tls: HttpTlsConfig | undefined
  readonly limits: HttpLimits
  /** Proxies in front whose word on the client counts; `unix`: whoever reaches us by a unix socket. */
  readonly trustedProxies: readonly (Network | 'unix')[]
}

/** How much clients may take of us. */
export interface HttpLimits {
  /** At once; 0: as many as the system gives us. */
  readonly connections: number
  /** Of one client at once; 0: any number. */
  readonly requests: number
  /** Requests of one client in a second; 0: any number. */
  readonly rate: number
  /** How long the headers of a request may take. */
  readonly headerTime: number
  /** How long a connection may make no progress while a request runs. */
  readonly idle: number
  /** How long it may wait for the next request. */
  readonly keepAlive: number
}

/** Files are named, not held: they are read again when they change. All paths are absolute. */
export interface HttpTlsConfig {
  readonly certificate: string
  readonly key: string
  /** Who signs the certificates of clients; none: clients are not asked for one. */
  readonly clientAuthorities: readonly string[]
  readonly clientAuth:
    | 'request-client-cert'
    | 'require-any-client-cert'
    | 'verify-client-cert-if-given'
    | 'require-and-verify-client-cert'
  readonly minimumVersion: 'TLSv1.2' | 'TLSv1.3'
  /** In OpenSSL's words; `undefined`: Node's choice. */
  readonly ciphers: string | undefined
}

export interface DebugConfig {
  /** Without brackets; empty: every interface. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** Where Prometheus finds the metrics; `undefined`: nothing is measured. */
  readonly metricsPath: string | undefined
}

/** What is looked at again and again, and told at `/debug/health`. */
export interface HealthConfig {
  /** `undefined`: it is not looked at. */
  readonly storage: PeriodicCheckConfig | undefined
  /** Well as long as the file is not there. */
  readonly files: readonly (PeriodicCheckConfig & { readonly path: string })[]
  readonly http: readonly HttpCheckConfig[]
  readonly tcp: readonly (PeriodicCheckConfig & Address & { readonly timeout: number })[]
}

export interface PeriodicCheckConfig {
  readonly interval: number
  /** Failures in a row from which on it counts as failing; 0: from the first. */
  readonly threshold: number
}

export interface HttpCheckConfig extends PeriodicCheckConfig {
  readonly url: URL
  readonly headers: Readonly<Record<string, readonly string[]>>
  /** Expected. */
  readonly status: number
  readonly timeout: number
}

export interface StorageConfig {
  readonly driver: 'filesystem' | 'inmemory'
  /** Absolute. Means nothing to `inmemory`. */
  readonly rootDirectory: string
  /** How many file operations may run at once. */
  readonly maxThreads: number
  readonly deleteEnabled: boolean
  readonly readOnly: boolean
  /** When content is proven against its digest: on its first reading after a start, on every reading, or never. */
  readonly verify: 'first' | 'always' | 'never'
  readonly scrub: ScrubConfig
  readonly uploadPurging: UploadPurgingConfig
  readonly descriptorCache: DescriptorCacheConfig
}

/** Reading all that is stored in the background, to find what is damaged. */
export interface ScrubConfig {
  readonly enabled: boolean
  /** From the beginning of one round to that of the next; an hour at least. */
  readonly interval: number
  /** Bytes a second; 64 KiB at least. */
  readonly rate: number
}

export interface UploadPurgingConfig {
  readonly enabled: boolean
  /** Uploads that were begun, and last written to, longer ago are removed. */
  readonly age: number
  /** A minute at least. */
  readonly interval: number
  /** Only says what it would remove. */
  readonly dryRun: boolean
}

export interface DescriptorCacheConfig {
  readonly kind: 'inmemory' | 'redis' | 'none'
  /** Entries held in memory. */
  readonly size: number
}

export interface RedisConfig {
  readonly host: string
  readonly port: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
  readonly tls: boolean
  readonly dialTimeout: number
  /** How long an answer is waited for. */
  readonly patience: number
}

/** Who may do what. */
export interface AuthConfig {
  readonly controller: AuthController
  readonly anonymous: readonly AnonymousConfig[]
  /** `undefined`: what the controller grants is granted. */
  readonly policy: readonly AccessPolicyConfig[] | undefined
}

export type AuthController =
  | { readonly kind: 'silly'; readonly realm: string; readonly service: string }
  /** The path is absolute. */
  | { readonly kind: 'htpasswd'; readonly realm: string; readonly path: string }
  | ({ readonly kind: 'token' } & TokenConfig)

export interface TokenConfig {
  readonly realm: string
  readonly service: string
  readonly issuer: string
  /** A file of certificates in PEM, absolute; this or `jwks` is there. */
  readonly rootCertBundle: string | undefined
  /** A file, absolute, or a URL. */
  readonly jwks: string | URL | undefined
  /** `undefined`: those that the keys allow. */
  readonly signingAlgorithms: readonly string[] | undefined
  /** The path below our own address that clients are sent to instead of `realm`. */
  readonly autoRedirectPath: string | undefined
}

export interface AnonymousConfig {
  /** Globs, of names in our storage. */
  readonly repositories: readonly string[]
  /** CIDR; `undefined`: anywhere. */
  readonly networks: readonly string[] | undefined
  readonly actions: readonly 'pull'[]
}

export interface AccessPolicyConfig {
  /** `*`: everybody; `undefined`: the claims decide. */
  readonly users: readonly string[] | undefined
  readonly claims: Readonly<Record<string, readonly string[]>>
  readonly actions: readonly ('pull' | 'push' | 'delete' | 'catalog' | '*')[]
  /** Globs, of names in our storage. */
  readonly repositories: readonly string[]
}

export interface ProxyConfig {
  /** At least one, in the order they were written. `remoteurl` makes one without a name. */
  readonly upstreams: readonly UpstreamConfig[]
  /** Globs of repository names that are ours: never asked upstream. */
  readonly hosted: readonly string[]
  /** How long a tag counts as fresh; 0: revalidated each time. */
  readonly freshness: number
  /** Never dial out. */
  readonly offline: boolean
  readonly timeouts: ProxyTimeouts
  /** How long it is remembered that an upstream does not have, or refuses us, what is not here; 0: not at all. */
  readonly negative: number
  readonly fill: FillConfig
  readonly cache: ProxyCacheConfig
}

/** How a blob is fetched. */
export interface FillConfig {
  /** Range requests that run at once for one large blob; 1: none are needed. */
  readonly connections: number
  /** From which size on a blob is large. */
  readonly minSize: number
  /** How often in all what broke is asked for again. */
  readonly retries: number
}

/** When copies of what upstreams have are taken away again. */
export interface ProxyCacheConfig {
  /** Bytes of all blobs that are stored; `undefined`: any number. */
  readonly maxSize: number | undefined
  /** Time without use; 0: they stay. */
  readonly ttl: number
  /** Globs of repositories, or of `repository:tag`, that stay. */
  readonly pins: readonly string[]
}

export interface ProxyTimeouts {
  readonly connect: number
  readonly firstByte: number
  readonly idle: number
  /** How long a client is kept waiting where something stale can be served; 0: as long as the others allow. */
  readonly stale: number
}

export interface UpstreamConfig {
  /** The name clients know it by, and the first component of its repositories; `undefined` for `remoteurl` only. */
  readonly name: string | undefined
  readonly url: URL
  /** Whether names that no upstream claims go here; true for at most one. */
  readonly default: boolean
  readonly freshness: number
  /** For single tags, instead of `freshness`; the first that matches counts. */
  readonly tags: readonly TagRule[]
  /** Whether a cached tag that the upstream has no more is taken away here. */
  readonly onGone: 'serve' | 'forget'
  /** Whether a cached tag that the upstream refuses us is refused to clients. */
  readonly onDenied: 'serve' | 'deny'
  readonly credentials: UpstreamCredentials
  /** Who may read its copies: whoever may reach us, or, with `client`, whoever the upstream itself lets pull. */
  readonly access: 'ours' | 'client'
  readonly tls: UpstreamTls
  /** What it is reached through; `undefined`: nothing. */
  readonly httpProxy: HttpProxyConfig | undefined
  /** Token servers, beyond the rule of the upstream's own host, that credentials may go to. */
  readonly realms: readonly URL[]
  /** Other names that mean this upstream in `?ns=`; no two upstreams share one. */
  readonly aliases: readonly string[]
  /** How many of the pulls that it grants us are kept for what cannot wait. */
  readonly reserve: number
  /** Whether `library/` is added to names of one component, as Docker Hub's clients do. */
  readonly library: boolean
  /** Other places with the same content, in the order in which they are asked. */
  readonly mirrors: readonly MirrorConfig[]
}

/** A place that holds the same repositories as an upstream, under the same names. */
export interface MirrorConfig extends Pick<UpstreamConfig, 'url' | 'credentials' | 'tls' | 'httpProxy' | 'realms'> {
  /** Whether it may also say what a name means: tags, referrers. */
  readonly trusted: boolean
}

/** Whose URLs may hold a user name and password. */
export interface HttpProxyConfig {
  /** For http URLs. */
  readonly http: URL | undefined
  /** For https URLs. */
  readonly https: URL | undefined
  /** Hosts that are reached without it, in the words of NO_PROXY. */
  readonly except: readonly string[]
}

/** What files held when they were read, in PEM. */
export interface UpstreamTls {
  /** Trusted beside those that Node trusts. */
  readonly ca: string | undefined
  /** Shown to the upstream, and to the token servers that are named. */
  readonly identity: { readonly certificate: string; readonly key: string } | undefined
}

export interface TagRule {
  /** A pattern for `RegExp` in `u` mode, unanchored. */
  readonly match: string
  readonly freshness: number
}

export type UpstreamCredentials =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A credential helper; `lifetime` undefined: its answer holds for ever, 0: it is asked every time. */
  | { readonly kind: 'exec'; readonly command: string; readonly lifetime: number | undefined }
  /** A docker `config.json`; the path is absolute. */
  | { readonly kind: 'authfile'; readonly path: string }

/** Whom we tell what happens. */
export interface NotificationsConfig {
  /** Whether events of manifests say what these refer to. */
  readonly includeReferences: boolean
  /** Of the events that wait for one endpoint. */
  readonly queue: { readonly maxEvents: number; readonly maxSize: number }
  /** Those that are not disabled. */
  readonly endpoints: readonly EndpointConfig[]
}

export interface EndpointConfig {
  /** No two endpoints share one. */
  readonly name: string
  /** May hold secrets anywhere behind its host, and a user name and password. */
  readonly url: URL
  readonly headers: Readonly<Record<string, readonly string[]>>
  /** Of one delivery. */
  readonly timeout: number
  /** Failures in a row after which each next try waits for `backoff`. */
  readonly threshold: number
  readonly backoff: number
  readonly ignoredMediaTypes: readonly string[]
  readonly ignoredActions: readonly string[]
  /** Whether it is told what becomes of the cache. */
  readonly cache: boolean
}

/** What a pushed manifest is looked at for. */
export interface ValidationConfig {
  /** Neither URLs nor the children of indexes are looked at. */
  readonly disabled: boolean
  /** Patterns for URLs of foreign layers, for `RegExp` in `u` mode, each on its own and unanchored. */
  readonly urls: { readonly allow: readonly string[]; readonly deny: readonly string[] }
  readonly indexes: {
    /** Which children of an index must be here; `list`: those in `platformList`. */
    readonly platforms: 'all' | 'none' | 'list'
    readonly platformList: readonly { readonly architecture: string; readonly os: string }[]
  }
}

export interface PolicyConfig {
  /** Classes of manifests that may be pushed; empty: all. */
  readonly classes: readonly string[]
}

export interface Schema1Config {
  /** Whether schema 1 manifests may be pushed. */
  readonly enabled: boolean
  /** The private key that they are signed with, absolute; `undefined`: a new one in each process. */
  readonly keyFile: string | undefined
}

/** What stands before the registry, its repositories and its storage, each list in its order. */
export interface MiddlewareConfig {
  readonly registry: readonly ModuleConfig[]
  readonly repository: readonly RepositoryModuleConfig[]
  /** Empty where nothing may be redirected. */
  readonly storage: readonly StorageMiddlewareConfig[]
}

/** A JavaScript or TypeScript module of the operator's. */
export interface ModuleConfig {
  /** Where it stands in the file: `middleware.registry[0]`. */
  readonly key: string
  /** Absolute. */
  readonly path: string
  /** How long one of its hooks is waited for. */
  readonly timeout: number
}

export interface RepositoryModuleConfig extends ModuleConfig {
  /** Globs of repositories, as the catalogue has them, that it is asked about; `undefined`: all. */
  readonly repositories: readonly string[] | undefined
}

export type StorageMiddlewareConfig =
  | { readonly kind: 'redirect'; readonly baseUrl: URL }
  | {
      readonly kind: 'cloudfront'
      readonly baseUrl: URL
      /** In PEM. */
      readonly privateKey: string
      readonly keyPairId: string
      /** How long a signed URL can be used. */
      readonly duration: number
    }
  | {
      readonly kind: 'rewrite'
      readonly scheme: 'http' | 'https' | undefined
      /** With its port, if it has one. */
      readonly host: string | undefined
      readonly trimPathPrefix: string | undefined
    }
