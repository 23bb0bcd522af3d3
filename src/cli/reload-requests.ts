// Who asks by SIGHUP that the configuration is read again.
import type { Io } from './io.ts'

/** Listens from its making on: what is asked before there is a server is done as soon as there is one. */
export class ReloadRequests implements Disposable {
  readonly #hangUp: EventTarget | undefined
  #reload: (() => void) | undefined
  #isDue = false

  constructor({ hangUp }: Io) {
    this.#hangUp = hangUp
    hangUp?.addEventListener('reload', this.#onAsked)
  }

  serve(reload: () => void): void {
    this.#reload = reload
    if (this.#isDue) reload()
  }

  [Symbol.dispose](): void {
    this.#hangUp?.removeEventListener('reload', this.#onAsked)
  }

  readonly #onAsked = (event: Event): void => {
    event.preventDefault()
    if (this.#reload === undefined) this.#isDue = true
    else this.#reload()
  }
}
