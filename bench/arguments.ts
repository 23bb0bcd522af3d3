// The command line of `npm run bench`.
import { parseArgs } from 'node:util'

export interface Arguments {
  readonly isQuick: boolean
  readonly isSecure: boolean
  /** Names of measures; empty: all of them. */
  readonly only: readonly string[]
  /** `undefined`: as many as there are in a run of this kind. */
  readonly runs: number | undefined
  /** The largest number of stored objects. */
  readonly objects: number | undefined
  /** Where folders with many objects are kept for the next run; without it, they are made and removed. */
  readonly folder: string | undefined
  /** A folder with, or for, peers that are built from source. */
  readonly peers: string | undefined
  readonly write: boolean
}

/** @throws Error where something is not understood */
export function parseArguments(words: readonly string[], measures: readonly string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      tls: { type: 'boolean', default: false },
      only: { type: 'string' },
      runs: { type: 'string' },
      objects: { type: 'string' },
      folder: { type: 'string' },
      peers: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  })
  const strange = positionals.filter((word) => word !== 'quick')
  if (strange.length > 0) throw new Error(`not understood: ${strange.join(' ')}`)
  const only = values.only?.split(',') ?? []
  const unknown = only.filter((name) => !measures.includes(name))
  if (unknown.length > 0) throw new Error(`there is no ${unknown.join(', ')}`)
  return {
    isQuick: positionals.includes('quick'),
    isSecure: values.tls,
    only,
    runs: count('runs', values.runs, 1),
    objects: count('objects', values.objects, 1000),
    folder: values.folder,
    peers: values.peers,
    write: values.write,
  }
}

function count(name: string, text: string | undefined, atLeast: number): number | undefined {
  if (text === undefined) return undefined
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (!(value >= atLeast)) throw new Error(`--${name} is a number of at least ${atLeast}`)
  return value
}
