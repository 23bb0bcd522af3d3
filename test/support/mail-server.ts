// A mail server for tests: it speaks SMTP over a real socket, and keeps what it was brought.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

export interface ReceivedMail {
  readonly from: string
  readonly to: readonly string[]
  /** User name and password, where it was given them. */
  readonly credentials: readonly [string, string] | undefined
  /** As they came, unfolded. */
  readonly headers: readonly string[]
  /** Decoded. */
  readonly text: string
}

export interface MailServer extends AsyncDisposable {
  /** `host:port` */
  readonly address: string
  readonly port: number
  readonly mails: readonly ReceivedMail[]
  /** Every line that clients said. */
  readonly said: readonly string[]
  /** Whether mails are taken, or answered 451. */
  mood: 'take' | 'refuse'
  /** Resolves when so many mails are here. */
  until(count: number): Promise<void>
}

export async function startMailServer(host = '127.0.0.1'): Promise<MailServer> {
  const mails: ReceivedMail[] = []
  const said: string[] = []
  const sockets = new Set<Socket>()
  const waiting = new Set<() => void>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    void converse(socket, said, (mail) => {
      if (mailServer.mood === 'refuse') return false
      mails.push(mail)
      for (const look of waiting) look()
      return true
    })
  })
  server.listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const mailServer: MailServer = {
    address: `${host}:${port}`,
    port,
    mails,
    said,
    mood: 'take',
    async until(count) {
      await new Promise<void>((resolve) => {
        const look = (): void => {
          if (mails.length < count) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      })
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return mailServer
}

async function converse(socket: Socket, said: string[], take: (mail: ReceivedMail) => boolean): Promise<void> {
  const answer = (line: string): boolean => socket.write(`${line}\r\n`)
  let from = ''
  let to: string[] = []
  let credentials: ReceivedMail['credentials']
  let message: string[] | undefined
  answer('220 sink')
  for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
    if (message !== undefined) {
      if (line !== '.') message.push(line.replace(/^\./, ''))
      else {
        answer(take({ from, to, credentials, ...parse(message) }) ? '250 taken' : '451 not today')
        message = undefined
      }
      continue
    }
    said.push(line)
    const [, verb = '', rest = ''] = /^(\w+)\s*(.*)$/.exec(line) ?? []
    switch (verb.toUpperCase()) {
      case 'EHLO':
        answer('250-sink\r\n250 AUTH PLAIN')
        break
      case 'AUTH': {
        const [, user = '', password = ''] = Buffer.from(rest.replace(/^PLAIN\s+/i, ''), 'base64')
          .toString()
          .split('\0')
        credentials = [user, password]
        answer('235 welcome')
        break
      }
      case 'MAIL':
        from = addressIn(rest)
        to = []
        answer('250 ok')
        break
      case 'RCPT':
        to = [...to, addressIn(rest)]
        answer('250 ok')
        break
      case 'DATA':
        message = []
        answer('354 go on')
        break
      case 'QUIT':
        answer('221 bye')
        socket.end()
        break
      default:
        answer('502 what?')
    }
  }
}

function addressIn(text: string): string {
  return /<(.*?)>/.exec(text)?.[1] ?? ''
}

function parse(lines: readonly string[]): Pick<ReceivedMail, 'headers' | 'text'> {
  const end = lines.indexOf('')
  const headers = lines
    .slice(0, end)
    .join('\n')
    .replace(/\n[ \t]+/g, ' ')
    .split('\n')
  const body = lines.slice(end + 1).join('\n')
  const encoding = headers.find((header) => /^content-transfer-encoding:/i.test(header)) ?? ''
  if (/base64/i.test(encoding)) return { headers, text: Buffer.from(body, 'base64').toString() }
  if (!/quoted-printable/i.test(encoding)) return { headers, text: body }
  const bytes = body
    .replace(/=\n/g, '')
    .replace(/=([\dA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
  return { headers, text: Buffer.from(bytes, 'latin1').toString() }
}
