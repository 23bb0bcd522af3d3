// Sections of distribution of which we have nothing. They warn.
import type { z } from 'zod'
import { flag, text } from './leaf.ts'
import { later, section } from './section.ts'

export const reportingSchema: z.ZodType = section({
  bugsnag: later(section({ apikey: text, releasestage: text, endpoint: text })),
  newrelic: later(section({ licensekey: text, name: text, verbose: flag })),
})
