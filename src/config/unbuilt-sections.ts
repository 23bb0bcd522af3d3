// Sections of distribution of which we have nothing yet. They warn.
import type { z } from 'zod'
import { flag, goDuration, integer, text } from './leaf.ts'
import { later, list, mapOf, section } from './section.ts'

const headers = mapOf(list(text))

export const notificationsSchema: z.ZodType = section({
  events: section({ includereferences: later(flag) }),
  endpoints: later(
    list(
      section({
        name: text,
        disabled: flag,
        url: text,
        headers,
        timeout: goDuration,
        threshold: integer(),
        backoff: goDuration,
        ignoredmediatypes: list(text),
        ignore: section({ mediatypes: list(text), actions: list(text) }),
      }),
    ),
  ),
})

export const reportingSchema: z.ZodType = section({
  bugsnag: later(section({ apikey: text, releasestage: text, endpoint: text })),
  newrelic: later(section({ licensekey: text, name: text, verbose: flag })),
})
