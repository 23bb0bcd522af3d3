// Sections of distribution of which we have nothing yet. Most warn; `auth` refuses, since without it the doors are open.
import type { z } from 'zod'
import { ConfigError } from './config-error.ts'
import { flag, goDuration, integer, text } from './leaf.ts'
import { freeMap, later, list, mapOf, section } from './section.ts'

export const authSchema: z.ZodType<Readonly<Record<string, unknown>>> = section({
  none: freeMap,
  silly: freeMap,
  htpasswd: freeMap,
  token: freeMap,
})

/** @throws ConfigError where a guard was asked for */
export function refuseAuth(auth: Readonly<Record<string, unknown>>): void {
  const guard = Object.keys(auth).find((type) => type !== 'none')
  if (guard === undefined) return
  throw new ConfigError(
    `auth.${guard}: access control is not supported yet, and entrepot does not start without the guard you asked for`,
  )
}

const middlewares = later(list(section({ name: text, disabled: flag, options: freeMap })))

export const middlewareSchema: z.ZodType = section({
  registry: middlewares,
  repository: middlewares,
  storage: middlewares,
})

const headers = mapOf(list(text))

const interval = goDuration
const threshold = integer()

export const healthSchema: z.ZodType = section({
  storagedriver: later(section({ enabled: flag, interval, threshold })),
  file: later(list(section({ file: text, interval, threshold }))),
  http: later(list(section({ uri: text, headers, statuscode: integer(), timeout: goDuration, interval, threshold }))),
  tcp: later(list(section({ addr: text, timeout: goDuration, interval, threshold }))),
})

export const reportingSchema: z.ZodType = section({
  bugsnag: later(section({ apikey: text, releasestage: text, endpoint: text })),
  newrelic: later(section({ licensekey: text, name: text, verbose: flag })),
})
