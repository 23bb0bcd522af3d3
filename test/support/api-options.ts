// What an API is started with where a test does not care.
import type { ApiOptions } from '../../src/api/api.ts'
import { generateSigningKey } from '../../src/schema1/signing-key.ts'

export function apiOptions(more: Partial<ApiOptions> = {}): ApiOptions {
  return {
    prefix: '/',
    headers: {},
    externalUrl: undefined,
    relativeUrls: false,
    secret: 'of this test',
    readOnly: false,
    schema1: { enabled: false, key: generateSigningKey() },
    rules: { disabled: false, isAllowedUrl: () => false, isRequiredChild: () => true, classes: [] },
    catalog: { usual: 100, most: 1000 },
    tags: { usual: Infinity, most: 1000 },
    ...more,
  }
}
