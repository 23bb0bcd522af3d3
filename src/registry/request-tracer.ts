// Who follows requests to upstreams, where somebody does.

export interface RequestTracer {
  /** Calls `send` once, with headers to add, and answers as it does. */
  follow<T extends { readonly status: number }>(
    request: { readonly method: string; readonly url: URL },
    send: (headers: Readonly<Record<string, string>>) => Promise<T>,
  ): Promise<T>
}
