// The whole configuration on one page: what the rest of the house may know of it. `loadConfig` makes it: validated,
// resolved, deeply frozen. Durations are milliseconds, sizes are bytes.
import type { AuthConfig } from './auth-section.ts'
import type { HealthConfig } from './health-section.ts'
import type { HttpConfig } from './http-section.ts'
import type { LogConfig } from './log-section.ts'
import type { PolicyConfig, Schema1Config, ValidationConfig } from './manifest-sections.ts'
import type { MiddlewareConfig } from './middleware-section.ts'
import type { NotificationsConfig } from './notifications-section.ts'
import type { ProxyConfig } from './proxy-section.ts'
import type { RedisConfig } from './redis-section.ts'
import type { StorageConfig } from './storage-section.ts'
import type { TracingConfig } from './tracing-section.ts'

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
