// What an upstream lets a client pull, found out with that client's own credentials: by asking for what the client asks for.
import { isAbsence } from '../oci/error.ts'
import type { RepositoryName } from '../oci/reference.ts'
import type { AskedObject, CallerQuestion, CallerRights, CallerVerdict } from '../registry/caller-rights.ts'
import { UpstreamError } from '../registry/upstream-error.ts'
import { UpstreamBlobSource } from './blobs.ts'
import { anonymousAccess, fixedCredentials } from './credentials.ts'
import { UpstreamManifests, UpstreamTagSource } from './manifests.ts'
import { Session, type SessionOptions } from './session.ts'
import { someTag } from './tag-list.ts'

/** Its connections, and what it knows of the upstream's health, are apart from those of our own requests. */
export class UpstreamCallerRights implements CallerRights, AsyncDisposable {
  readonly #session: Session

  constructor(options: Omit<SessionOptions, 'credentials' | 'reserve'>) {
    this.#session = new Session({ ...options, credentials: anonymousAccess(), reserve: 0 })
  }

  /**
   * What is asked for comes first. Where that is no yes, some tag of the repository proves as much, so that who may pull
   * there hears of what is absent that it is absent. A second question follows any first no, so that all wait as long.
   */
  async ask({ repository, object, credentials }: CallerQuestion): Promise<CallerVerdict> {
    const session = this.#session.as(fixedCredentials(credentials))
    const answers = new Answers()
    if (object !== undefined && (await answers.has(async () => await look(session, repository, object)))) {
      return { mayPull: true, isForAll: object.kind !== 'blob' }
    }
    const tag = await answers.find(async () => await someTag(session, repository))
    const mayPull =
      tag !== undefined && (await answers.has(async () => await look(session, repository, { kind: 'tag', tag })))
    return { mayPull, isForAll: mayPull || answers.refuseCredentials }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]()
  }
}

async function look(session: Session, repository: RepositoryName, object: AskedObject): Promise<unknown> {
  const manifests = new UpstreamManifests(session, repository)
  if (object.kind === 'tag') return await new UpstreamTagSource(session, repository, manifests).resolve(object.tag)
  if (object.kind === 'manifest') return await manifests.stat(object.digest)
  return await new UpstreamBlobSource(session, repository).stat(object.digest)
}

/** The upstream's answers to one client. Each of them is a yes or a no; all else that it may say is thrown on. */
class Answers {
  /** Whether one of them was about the credentials, whatever they were shown for. */
  refuseCredentials = false

  async has(question: () => Promise<unknown>): Promise<boolean> {
    return (await this.find(question)) !== undefined
  }

  async find<T>(question: () => Promise<T>): Promise<T | undefined> {
    try {
      return await question()
    } catch (error) {
      if (isAbsence(error)) return undefined
      if (!(error instanceof UpstreamError) || !isNo(error)) throw error
      if (error.failure === 'credentials-refused') this.refuseCredentials = true
      return undefined
    }
  }
}

/** A 4xx of any kind but «too many requests» shows nothing to the client. */
function isNo({ failure, status = 0 }: UpstreamError): boolean {
  if (failure === 'denied' || failure === 'credentials-refused') return true
  return failure === 'invalid' && status >= 400 && status < 500
}
