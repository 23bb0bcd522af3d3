// One delivery: a POST, its redirects followed as Go's client does, which distribution's users have their endpoints for.
// What is configured to be sent along goes to the configured host alone.
import { Agent } from 'undici'

export interface PostOptions {
  /** Its user name and password are sent as Basic credentials. */
  readonly url: URL
  /** A Content-Type among them takes the place of ours. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  /** Milliseconds for the whole, redirects included. */
  readonly timeout: number
  readonly userAgent: string
}

const maxRedirects = 10

/** Bytes of an answer that are read, so that its connection can be used again. */
const maxAnswer = 64 * 1024

/** What is ours to say, or the connection's. */
const reserved = ['host', 'connection', 'content-length', 'content-type', 'expect', 'keep-alive', 'te', 'trailer']
const ours: ReadonlySet<string> = new Set([...reserved, 'transfer-encoding', 'upgrade'])

export class Poster implements AsyncDisposable {
  readonly #options: PostOptions
  readonly #url: URL
  readonly #headers: Readonly<Record<string, string[]>>
  readonly #mediaType: string | undefined
  readonly #agent: Agent

  constructor(options: PostOptions) {
    this.#options = options
    const { url, headers, timeout } = options
    const credentials = url.username === '' && url.password === '' ? {} : { authorization: [basic(url)] }
    const given = Object.entries(headers).map(([name, values]) => [name.toLowerCase(), [...values]] as const)
    this.#headers = { ...credentials, ...Object.fromEntries(given.filter(([name]) => !ours.has(name))) }
    this.#mediaType = given.find(([name]) => name === 'content-type')?.[1][0]
    this.#url = new URL(url)
    this.#url.username = ''
    this.#url.password = ''
    this.#agent = new Agent({ allowH2: false, connections: 1, connect: { timeout } })
  }

  /**
   * @returns the status of the last answer
   * @throws where there was none in time, or it led nowhere; nothing secret is in the message
   */
  async post(mediaType: string, body: string, stop: AbortSignal): Promise<number> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new Error('the endpoint did not answer in time')), this.#options.timeout)
    try {
      return await this.#send(mediaType, body, AbortSignal.any([stop, late.signal]))
    } finally {
      clearTimeout(timer)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy()
  }

  async #send(mediaType: string, body: string, signal: AbortSignal): Promise<number> {
    let url = this.#url
    let method: 'POST' | 'GET' = 'POST'
    for (let redirects = 0; redirects <= maxRedirects; redirects += 1) {
      const answer = await this.#agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: {
          'user-agent': this.#options.userAgent,
          ...(url.origin === this.#url.origin ? this.#headers : {}),
          ...(method === 'POST' ? { 'content-type': this.#mediaType ?? mediaType } : {}),
        },
        body: method === 'POST' ? body : null,
        signal,
      })
      const { statusCode: status, headers } = answer
      await answer.body.dump({ limit: maxAnswer, signal }).catch(() => {}) // the status says it all
      const location = isRedirect(status) ? headers['location'] : undefined
      if (location === undefined) return status
      url = locate(String(location), url)
      if (status !== 307 && status !== 308) method = 'GET'
    }
    throw new Error(`more than ${maxRedirects} redirects`)
  }
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

function locate(location: string, from: URL): URL {
  const url = URL.parse(location, from.href)
  if (url === null || !/^https?:$/.test(url.protocol)) throw new Error('the endpoint redirects to what is no http URL')
  return url
}

function basic({ username, password }: URL): string {
  return `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64')}`
}

/** A `%` that encodes nothing is one: passwords are pasted as they are. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
