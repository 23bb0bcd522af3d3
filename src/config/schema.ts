// The whole file: every key of distribution's config.yml, versions 2 and 3, and our own.
import { authSchema, type AuthInput } from './auth-section.ts'
import { healthSchema, type HealthInput } from './health-section.ts'
import { httpSchema, type HttpInput } from './http-section.ts'
import { count, integer, oneOf } from './leaf.ts'
import { logLevelSchema, type LogLevel } from './log-level.ts'
import { logSchema, type LogInput } from './log-section.ts'
import {
  compatibilitySchema,
  policySchema,
  validationSchema,
  type CompatibilityInput,
  type PolicyInput,
  type ValidationInput,
} from './manifest-sections.ts'
import { middlewareSchema, type MiddlewareInput } from './middleware-section.ts'
import { notificationsSchema, type NotificationsInput } from './notifications-section.ts'
import { proxySchema, type ProxyInput } from './proxy-section.ts'
import { redisSchema, type RedisInput } from './redis-section.ts'
import { section, type Schema } from './section.ts'
import { storageSchema, type StorageInput } from './storage-section.ts'
import { reportingSchema } from './unbuilt-sections.ts'

export interface ConfigInput {
  readonly version?: '0.1' | undefined
  readonly log?: LogInput | undefined
  readonly loglevel?: LogLevel | undefined
  readonly storage?: StorageInput | undefined
  readonly auth?: AuthInput | undefined
  readonly http?: HttpInput | undefined
  readonly redis?: RedisInput | undefined
  readonly catalog?: { readonly maxentries?: number | undefined } | undefined
  readonly tags?: { readonly maxtags?: number | undefined } | undefined
  readonly proxy?: ProxyInput | undefined
  readonly notifications?: NotificationsInput | undefined
  readonly validation?: ValidationInput | undefined
  readonly policy?: PolicyInput | undefined
  readonly compatibility?: CompatibilityInput | undefined
  readonly middleware?: MiddlewareInput | undefined
  readonly health?: HealthInput | undefined
}

export const configSchema: Schema<ConfigInput> = section({
  version: oneOf(['0.1']),
  log: logSchema,
  loglevel: logLevelSchema,
  storage: storageSchema,
  http: httpSchema,
  redis: redisSchema,
  catalog: section({ maxentries: integer() }),
  tags: section({ maxtags: count }),
  proxy: proxySchema,
  auth: authSchema,
  middleware: middlewareSchema,
  notifications: notificationsSchema,
  health: healthSchema,
  validation: validationSchema,
  policy: policySchema,
  compatibility: compatibilitySchema,
  reporting: reportingSchema,
})
