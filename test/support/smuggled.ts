// Requests that hide another one: whoever reads their length, their end or their path in two ways, and believes the wrong
// one, answers a request that nobody has sent.

export interface Smuggled {
  readonly what: string
  /** Bytes as they go over the wire, in latin1; `canary` names the repository that only the hidden request asks for. */
  readonly raw: (canary: string) => string
  /** nginx is a lenient reader of this: to it the canary is asked for, and it asks us in words that are clear. */
  readonly nginxAsks?: boolean
}

const end = '\r\n\r\n'

function hiddenIn(canary: string): string {
  return `GET /v2/${canary}/tags/list HTTP/1.1\r\nHost: hidden${end}`
}

function chunk(text: string, extension = ''): string {
  return `${text.length.toString(16)}${extension}\r\n${text}\r\n`
}

const line = 'POST /v2/local/a/blobs/uploads/ HTTP/1.1\r\nHost: a.example\r\n'
const last = '0\r\n\r\n'

/** The length hides it; the chunks would end before it. */
function byLength(what: string, ...headers: readonly string[]): Smuggled {
  const body = (canary: string): string => last + hiddenIn(canary)
  return {
    what: `${what}, the length hides it`,
    raw: (canary) => {
      const named = headers.map((header) => header.replace('LENGTH', String(body(canary).length)))
      return `${line}${named.join('\r\n')}${end}${body(canary)}`
    },
  }
}

/** A chunk hides it; the length would end before it. */
function byChunks(what: string, ...headers: readonly string[]): Smuggled {
  return {
    what: `${what}, a chunk hides it`,
    raw: (canary) => {
      const body = chunk(hiddenIn(canary)) + last
      const named = headers.map((header) => header.replace('LENGTH', String(body.indexOf('\n') + 1)))
      return `${line}${named.join('\r\n')}${end}${body}`
    },
  }
}

const both = [byLength, byChunks]

/** Two statements of where the body ends, or one that is none. */
const twoLengths: readonly Smuggled[] = [
  ...[
    ['a length and chunks', 'Content-Length: LENGTH', 'Transfer-Encoding: chunked'],
    ['chunks and a length', 'Transfer-Encoding: chunked', 'Content-Length: LENGTH'],
    ['a coding that is none', 'Content-Length: LENGTH', 'Transfer-Encoding: xchunked'],
    ['a quoted coding', 'Content-Length: LENGTH', 'Transfer-Encoding: "chunked"'],
    ['a coding with a parameter', 'Content-Length: LENGTH', 'Transfer-Encoding: chunked;q=1'],
    ['chunked, but not last', 'Content-Length: LENGTH', 'Transfer-Encoding: chunked, identity'],
    ['chunked behind another', 'Content-Length: LENGTH', 'Transfer-Encoding: identity, chunked'],
    ['chunked twice', 'Content-Length: LENGTH', 'Transfer-Encoding: chunked, chunked'],
    ['two codings', 'Content-Length: LENGTH', 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
    ['capital chunks', 'Content-Length: LENGTH', 'TRANSFER-ENCODING: CHUNKED'],
    ['a space before the colon', 'Content-Length: LENGTH', 'Transfer-Encoding : chunked'],
    ['a tab before the colon', 'Content-Length: LENGTH', 'Transfer-Encoding\t: chunked'],
    ['a vertical tab', 'Content-Length: LENGTH', 'Transfer-Encoding:\v chunked'],
    ['a NUL in the coding', 'Content-Length: LENGTH', 'Transfer-Encoding: chunked\0'],
    ['a high byte in the coding', 'Content-Length: LENGTH', 'Transfer-Encoding: \xffchunked'],
    ['a folded coding', 'Content-Length: LENGTH', 'Transfer-Encoding:\r\n chunked'],
    ['a coding folded into another header', 'Content-Length: LENGTH', 'X-A: b\r\n Transfer-Encoding: chunked'],
    ['a bare LF before the coding', 'Content-Length: LENGTH', 'X-A: b\nTransfer-Encoding: chunked'],
    ['a bare CR before the coding', 'Content-Length: LENGTH', 'X-A: b\rTransfer-Encoding: chunked'],
    ['a line that is no header', 'Content-Length: LENGTH', 'rubbish', 'Transfer-Encoding: chunked'],
    ['a header without a name', 'Content-Length: LENGTH', ': x', 'Transfer-Encoding: chunked'],
  ].flatMap(([what = '', ...headers]) => both.map((way) => way(what, ...headers))),
  ...['0', '5'].map((other) =>
    byLength(`a second length of ${other}`, 'Content-Length: LENGTH', `Content-Length: ${other}`),
  ),
  ...[
    '+LENGTH',
    '-LENGTH',
    'LENGTH, 0',
    '0, LENGTH',
    'LENGTH 0',
    '0xLENGTH',
    'LENGTH.0',
    '"LENGTH"',
    'LENGTH\v',
    '\0LENGTH',
  ].map((text) => byLength(`a length of ${JSON.stringify(text)}`, `Content-Length: ${text}`)),
  ...['', '18446744073709551616', '99999999999999999999999', '1e2', '٣'].map((text) => ({
    what: `a length of «${text}»`,
    raw: (canary: string) => `${line}Content-Length: ${text}${end}${hiddenIn(canary)}`,
  })),
  byLength('a space before the colon of the length', 'Content-Length : LENGTH'),
  byLength('a folded length', 'Content-Length:\r\n LENGTH'),
]

/** Chunks that two readers cut in different places. */
const oddChunks: readonly Smuggled[] = (
  [
    ['a bare LF in an extension', (hidden: string) => `2;\nxx\r\n${chunk(hidden)}${last}`],
    ['a bare LF behind the size', (hidden: string) => `0\n\n${hidden}`],
    ['a bare CR behind the size', (hidden: string) => `0\r\r${hidden}`],
    ['a size with a sign', (hidden: string) => `+0${end}${hidden}`],
    ['a negative size', (hidden: string) => `-1\r\n${hidden}`],
    ['a size with 0x', (hidden: string) => `0x0${end}${hidden}`],
    ['a size with a space before', (hidden: string) => ` 0${end}${hidden}`],
    ['no size', (hidden: string) => `;x${end}${hidden}`],
    ['a size that overflows', (hidden: string) => `10000000000000000\r\n${hidden}`],
    ['a size of many digits', (hidden: string) => `${'f'.repeat(40)}\r\n${hidden}`],
    ['more than the size', (hidden: string) => `2\r\nabc\r\n${last}${hidden}`],
    ['no line end behind the data', (hidden: string) => `2\r\nab${last}${hidden}`],
    ['a NUL in an extension', (hidden: string) => chunk(hidden, ';\0') + last],
    ['an extension of 20 KiB', (hidden: string) => chunk(hidden, `;${'x'.repeat(20_000)}`) + last],
    ['a request in place of trailers', (hidden: string) => `0\r\n${hidden}`],
    ['an end in an extension', (hidden: string) => chunk(hidden, ';a="\r\n0\r\n\r\n"') + last],
  ] as const
).map(([what, body]) => ({
  what: `chunks: ${what}`,
  nginxAsks: what === 'a bare LF behind the size',
  raw: (canary: string) => `${line}Transfer-Encoding: chunked${end}${body(hiddenIn(canary))}`,
}))

/** Bodies where nobody looks for one. */
const unread: readonly Smuggled[] = (
  [
    ['a GET', 'GET /v2/ HTTP/1.1\r\nHost: a.example'],
    ['a HEAD', 'HEAD /v2/ HTTP/1.1\r\nHost: a.example'],
    ['what is not found', 'GET /nowhere HTTP/1.1\r\nHost: a.example'],
    ['what is not allowed', 'PUT /v2/_catalog HTTP/1.1\r\nHost: a.example'],
    ['a manifest that is refused', 'PUT /v2/local/a/manifests/x HTTP/1.1\r\nHost: a.example'],
    ['an upload that is not there', 'PATCH /v2/local/a/blobs/uploads/x HTTP/1.1\r\nHost: a.example'],
    ['an expectation', 'PUT /v2/local/a/manifests/x HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue'],
    ['an expectation nobody meets', 'PUT /v2/local/a/manifests/x HTTP/1.1\r\nHost: a.example\r\nExpect: x'],
    [
      'an upgrade to h2c',
      'GET /v2/ HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk',
    ],
    ['an upgrade', 'GET /v2/ HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: upgrade'],
    ['a method override', 'POST /v2/ HTTP/1.1\r\nHost: a.example\r\nX-HTTP-Method-Override: GET'],
  ] as const
).flatMap(([what, head]): Smuggled[] => [
  {
    what: `a body of ${what}, by its length`,
    raw: (canary) => `${head}\r\nContent-Length: ${hiddenIn(canary).length}${end}${hiddenIn(canary)}`,
  },
  {
    what: `a body of ${what}, in chunks`,
    raw: (canary) => `${head}\r\nTransfer-Encoding: chunked${end}${chunk(hiddenIn(canary))}${last}`,
  },
])

/** Beginnings that are no request of HTTP/1.1. */
const beginnings: readonly Smuggled[] = [
  ['h2 at once', (hidden: string) => `PRI * HTTP/2.0${end}SM${end}${hidden}`],
  ['a tunnel', (hidden: string) => `CONNECT a.example:443 HTTP/1.1\r\nHost: a.example${end}${hidden}`],
  ['a folded first header', (hidden: string) => `GET /v2/ HTTP/1.1\r\n Host: a.example${end}${hidden}`],
  ['a space in the path', (hidden: string) => `GET /v2/ x HTTP/1.1\r\nHost: a.example${end}${hidden}`],
  ['a NUL in the path', (hidden: string) => `GET /v2/\0 HTTP/1.1\r\nHost: a.example${end}${hidden}`],
  ['a NUL in a header', (hidden: string) => `GET /v2/ HTTP/1.1\r\nHost: a\0.example${end}${hidden}`],
  ['a version of its own', (hidden: string) => `GET /v2/ HTTP/1.1x\r\nHost: a.example${end}${hidden}`],
  ['HTTP/2 in the line', (hidden: string) => `GET /v2/ HTTP/2.0\r\nHost: a.example${end}${hidden}`],
  ['a method with a space before', (hidden: string) => ` GET /v2/ HTTP/1.1\r\nHost: a.example${end}${hidden}`],
  [
    'headers of 64 KiB',
    (hidden: string) => `GET /v2/ HTTP/1.1\r\nHost: a.example\r\nX: ${'x'.repeat(65_536)}${end}${hidden}`,
  ],
].map(([what, raw]) => ({
  what: String(what),
  raw: (canary: string) => (raw as (hidden: string) => string)(hiddenIn(canary)),
}))

/** Paths that only somebody who tidies up reads as the canary's. */
const paths: readonly Smuggled[] = [
  '/v2/x/../CANARY/tags/list',
  '/v2/./CANARY/tags/list',
  '/v2//CANARY/tags/list',
  '//v2/CANARY/tags/list',
  '/x/../v2/CANARY/tags/list',
  '/v2/%2e/CANARY/tags/list',
  '/v2/x/%2e%2e/CANARY/tags/list',
  '/v2/CANARY%2ftags%2flist',
  '/v2%2fCANARY/tags/list',
  '/v2/CANARY/tags%00/list',
  '/v2/CANARY/tags/list%00',
  '/v2/CANARY/tags/list/',
  '/v2/CANARY/tags/list;x',
  '/v2\\CANARY\\tags\\list',
  '/V2/CANARY/tags/list',
  '*',
  'v2/CANARY/tags/list',
  'ftp://b.example/v2/CANARY/tags/list',
].map((path) => ({
  what: `the path ${path}`,
  nginxAsks: path.includes('://'),
  raw: (canary) => `GET ${path.replace('CANARY', canary)} HTTP/1.1\r\nHost: a.example\r\nConnection: close${end}`,
}))

export const smuggled: readonly Smuggled[] = [...twoLengths, ...oddChunks, ...unread, ...beginnings, ...paths]

/** Two requests on one connection as they may be: what shows that a canary which is answered is also seen. */
export const pipelined: Smuggled = {
  what: 'two requests',
  raw: (canary) =>
    `GET /v2/ HTTP/1.1\r\nHost: a.example${end}GET /v2/${canary}/tags/list HTTP/1.1\r\nHost: a.example\r\nConnection: close${end}`,
}
