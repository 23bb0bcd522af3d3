// What the debug listener answers. It asks nobody who they are: it belongs on an address that only operators reach.
import type { Handler, Reply, Request } from '../http/exchange.ts'
import type { Readiness } from './readiness.ts'
import type { Watch } from './watch.ts'

export interface EndpointOptions {
  readonly watch: Watch
  readonly readiness: Readiness
  /** More that is shown, by path. */
  readonly pages: ReadonlyMap<string, Handler>
}

/** As distribution calls the check that `POST /debug/health/down` lets fail. */
const byHand = 'manual_http_status'

export function debugEndpoints({ watch, readiness, pages }: EndpointOptions): Handler {
  let isDown = false
  const failures = (): Record<string, string> => ({
    ...watch.failures(),
    ...(isDown ? { [byHand]: 'set to down by hand' } : {}),
  })
  const set = (request: Request, down: boolean): Reply => {
    if (request.method !== 'POST') return notAllowed('POST')
    // A page in an operator's browser can send a POST anywhere; it cannot keep the browser from saying so.
    if (request.headers.origin !== undefined) return { status: 403, headers: {} }
    isDown = down
    return { status: 200, headers: {} }
  }
  return async (request) => {
    switch (request.path) {
      case '/debug/health/down':
        return set(request, true)
      case '/debug/health/up':
        return set(request, false)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return notAllowed('GET, HEAD')
    switch (request.path) {
      case '/debug/health':
        return report(failures())
      case '/livez':
        return report({})
      case '/readyz': {
        const failure = isDown ? 'set to down by hand' : await readiness.failure()
        return report(failure === undefined ? {} : { ready: failure })
      }
    }
    return (await pages.get(request.path)?.(request)) ?? { status: 404, headers: {} }
  }
}

function report(failures: Record<string, string>): Reply {
  const status = Object.keys(failures).length === 0 ? 200 : 503
  const headers = {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  }
  return { status, headers, body: Buffer.from(JSON.stringify(failures)) }
}

function notAllowed(allow: string): Reply {
  return { status: 405, headers: { allow } }
}
