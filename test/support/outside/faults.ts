// What an upstream can do to whoever asks it, as data: it goes to the process of the origin.

export type Kind = 'blobs' | 'manifests'

/** Where an answer's body goes wrong: bytes from its beginning, or a part of the whole. */
export type Place = { readonly byte: number } | { readonly part: number }

export type Fault =
  /** The connection ends at a byte of the object, whichever range was asked for. */
  | { readonly do: 'cut'; readonly at: Place; readonly by: 'RST' | 'FIN'; readonly withoutLength?: boolean }
  | { readonly do: 'stall'; readonly at: Place }
  /** Stalls until the origin is told to go on; from then on it does not. */
  | { readonly do: 'hold'; readonly at: Place }
  /** So fast, each connection; `shared`: all of them together, as by one line. */
  | { readonly do: 'pace'; readonly bytesPerSecond: number; readonly shared?: boolean }
  | { readonly do: 'drip' }
  | { readonly do: 'flip' }
  /** Another right object of the same kind and repository. */
  | { readonly do: 'swap' }
  | { readonly do: 'gzip' }
  | { readonly do: 'silence' }
  | { readonly do: 'reset' }
  | {
      readonly do: 'reply'
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
    }
  | { readonly do: 'redirect'; readonly to: 'itself' | 'foreign' }
  /** Asks for a password, or for a token of this realm. */
  | { readonly do: 'challenge'; readonly scheme: 'Basic' | 'Bearer'; readonly realm: 'own' | 'foreign' }

export interface Rule {
  /** A part of the path; an empty one is in every path. */
  readonly path: string
  readonly fault: Fault
  /** After so many requests it is over. */
  readonly times?: number | undefined
}

/** A request that the origin was asked, and what it answered. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly range: string | undefined
  readonly authorization: string | undefined
  /** Of the body, handed to the kernel until now. */
  readonly bytes: number
}

export type Command =
  /** Random bytes, or those of a seed in hex. */
  | { readonly do: 'add-blob'; readonly repository: string; readonly size: number; readonly seed?: string | undefined }
  /** A blob that is an archive of one file with so many random bytes. */
  | { readonly do: 'add-archive'; readonly repository: string; readonly name: string; readonly size: number }
  | { readonly do: 'add-text'; readonly repository: string; readonly text: string }
  | {
      readonly do: 'add-manifest'
      readonly repository: string
      readonly tag?: string | undefined
      readonly text: string
    }
  /** A manifest that is valid, and this large. */
  | { readonly do: 'add-huge-manifest'; readonly repository: string; readonly tag: string; readonly size: number }
  | { readonly do: 'rules'; readonly rules: readonly Rule[] }
  | { readonly do: 'asked'; readonly path: string }
  | { readonly do: 'forget' }
  | { readonly do: 'release' }
  | { readonly do: 'down' }
  | { readonly do: 'up' }
  /** All that came to the foreign host, as it came. */
  | { readonly do: 'foreign' }
