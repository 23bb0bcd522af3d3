// What is tortured: entrepot, and a peer to compare with.
import { dockerRegistry, entrepot, type MirrorProgram } from '../support/outside/mirrors.ts'

export interface Target extends MirrorProgram {
  readonly id: 'entrepot' | 'docker-registry'
  /** Folders below the root in which a dead process may leave bytes. */
  readonly unfinished: readonly RegExp[]
  /** Its own files, which it must be able to do without. */
  readonly state: RegExp
}

export const targets: readonly Target[] = [
  {
    ...entrepot,
    id: 'entrepot',
    unfinished: [/^entrepot\/(?:tmp|fills)\//, /\/_uploads\//],
    state: /^entrepot\/(?!tmp\/|fills\/)/,
  },
  {
    ...dockerRegistry,
    id: 'docker-registry',
    unfinished: [/\/_uploads\//],
    state: /^scheduler-state\.json$/,
  },
]
