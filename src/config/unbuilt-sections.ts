// Sections of distribution of which we have nothing. They warn.
import { flag, text } from './leaf.ts'
import { later, section, type Schema } from './section.ts'

export const reportingSchema: Schema = section({
  bugsnag: later(section({ apikey: text, releasestage: text, endpoint: text })),
  newrelic: later(section({ licensekey: text, name: text, verbose: flag })),
})
