// Middleware of storage: where clients are sent for a file instead of having it from us.
import { createPrivateKey, sign, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { Redirect } from '../drivers/driver.ts'

export type RedirectStep =
  | { readonly kind: 'redirect'; readonly baseUrl: URL }
  | {
      readonly kind: 'cloudfront'
      readonly baseUrl: URL
      /** RSA, in PEM. */
      readonly privateKey: string
      readonly keyPairId: string
      /** Milliseconds for which a signed URL can be used. */
      readonly duration: number
    }
  | {
      readonly kind: 'rewrite'
      readonly scheme: string | undefined
      readonly host: string | undefined
      readonly trimPathPrefix: string | undefined
    }

/** Each step is given what those before it have made. `undefined` where none of them redirects. */
export function redirectBy(steps: readonly RedirectStep[], now: () => number = Date.now): Redirect | undefined {
  return steps.reduce<Redirect | undefined>((former, step) => {
    switch (step.kind) {
      case 'redirect':
        return async (path) => below(step.baseUrl, path)
      case 'cloudfront':
        return signedBy(step, now)
      case 'rewrite':
        return former && (async (path) => rewritten(await former(path), step))
    }
  }, undefined)
}

/** A driver's path has no character that a URL would encode. */
function below(base: URL, path: string): URL {
  const url = new URL(base)
  url.pathname = base.pathname.replace(/\/$/, '') + path
  return url
}

const signOffThread = promisify(sign)

/**
 * CloudFront's signed URLs with a canned policy: the resource and its end, signed by RSA with SHA-1, which is what it takes
 * (CloudFront developer guide, «Create a signed URL using a canned policy»).
 */
function signedBy(step: Extract<RedirectStep, { kind: 'cloudfront' }>, now: () => number): Redirect {
  const key: KeyObject = createPrivateKey(step.privateKey)
  return async (path) => {
    const url = below(step.baseUrl, path)
    const end = Math.floor((now() + step.duration) / 1000)
    const policy = JSON.stringify({
      Statement: [{ Resource: url.href, Condition: { DateLessThan: { 'AWS:EpochTime': end } } }],
    })
    const signature = await signOffThread('RSA-SHA1', Buffer.from(policy), key)
    url.search = `Expires=${end}&Signature=${safeBase64(signature)}&Key-Pair-Id=${step.keyPairId}`
    return url
  }
}

const safe: Readonly<Record<string, string>> = { '+': '-', '=': '_', '/': '~' }

function safeBase64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/[+=/]/g, (character) => safe[character] ?? character)
}

function rewritten(former: URL, { scheme, host, trimPathPrefix }: Extract<RedirectStep, { kind: 'rewrite' }>): URL {
  const { pathname } = former
  const path =
    trimPathPrefix !== undefined && pathname.startsWith(trimPathPrefix)
      ? pathname.slice(trimPathPrefix.length)
      : pathname
  const origin = `${scheme === undefined ? former.protocol : `${scheme}:`}//${host ?? former.host}`
  return new URL(`${origin}/${path.replace(/^\/+/, '')}${former.search}`)
}
