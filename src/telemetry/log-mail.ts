// Mail about lines of the log, for those who want to hear of them. Loaded only where somebody does; the only import of
// nodemailer. What is mailed has been through the logger's redaction.
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { createTransport, type SMTPTransportOptions } from 'nodemailer'
import { finishLine } from './line.ts'
import type { LogLevel } from './logger.ts'
import { MailBox, type Letter, type MailClock } from './mail-box.ts'

export interface MailHook {
  readonly levels: readonly LogLevel[]
  readonly smtp: SmtpOptions
  /** Without it, `entrepot` at this machine. */
  readonly from: string | undefined
  readonly to: readonly string[]
  readonly perHour: number
}

export interface SmtpOptions {
  readonly host: string
  readonly port: number
  readonly credentials: { readonly username: string; readonly password: string } | undefined
  /** Any certificate will do, and the password may be sent in the clear. */
  readonly insecure: boolean
}

export interface LogMailOptions {
  /** Told when mail cannot be sent, once until it can be again. What it logs is not mailed. */
  readonly onFailure: (error: unknown) => void
  readonly clock?: MailClock | undefined
}

/** Disposing it sends what waits, for a few seconds at most. */
export interface LogMail extends AsyncDisposable {
  /** `line`: JSON, as the logger writes it. Never waits and never fails. */
  take(line: string): void
}

/** Milliseconds. */
const timeouts = { dnsTimeout: 10_000, connectionTimeout: 10_000, greetingTimeout: 10_000, socketTimeout: 30_000 }
const lastWait = 5000

/** Where a password cannot be read on its way. */
const ownHosts: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1'])

export function openLogMail(hooks: readonly MailHook[], { onFailure, clock }: LogMailOptions): LogMail {
  let isSaying = false
  const say = (error: unknown): void => {
    isSaying = true
    try {
      onFailure(error)
    } finally {
      isSaying = false
    }
  }
  const machine = hostname()
  const boxes = hooks.map(({ levels, smtp, from, to, perHour }) => {
    const transport = createTransport(transportOptions(smtp))
    const send = async ({ subject, text }: Letter): Promise<void> => {
      await transport.sendMail({
        from: from ?? `entrepot@${machine}`,
        to: [...to],
        subject,
        text,
        headers: { 'Auto-Submitted': 'auto-generated' },
      })
    }
    const starts = levels.map((level) => `{"level":"${level}"`)
    return { starts, box: new MailBox({ sender: machine, send, perHour, onFailure: say, clock }) }
  })
  return {
    take(line) {
      if (isSaying) return
      for (const { starts, box } of boxes) {
        if (!starts.some((start) => line.startsWith(start))) continue
        const { level, message, text } = describe(line)
        box.put({ title: `[${level}] ${message}`, subject: `[${level}] ${machine}: ${message}`, text })
      }
    },
    async [Symbol.asyncDispose]() {
      const patience = new AbortController()
      const late = delay(lastWait, undefined, { signal: patience.signal }).catch(() => {}) // called off, as it should be
      await Promise.race([Promise.all(boxes.map(async ({ box }) => await box.empty())), late])
      patience.abort()
    },
  }
}

function transportOptions({ host, port, credentials, insecure }: SmtpOptions): SMTPTransportOptions {
  return {
    host,
    port,
    secure: port === 465, // elsewhere TLS begins by STARTTLS, where it is offered
    requireTLS: credentials !== undefined && !insecure && !ownHosts.has(host),
    tls: { rejectUnauthorized: !insecure },
    ...(credentials && { auth: { user: credentials.username, pass: credentials.password } }),
    ...timeouts,
    disableFileAccess: true,
    disableUrlAccess: true,
  }
}

/** A password that the log shows once, to whoever runs the server. A mail goes further, and stays. */
const onlyInLog = 'initial'

/** `line` as a mail shows it: the message, and each field on a line of its own. */
function describe(line: string): { readonly level: string; readonly message: string; readonly text: string } {
  const { msg, ...fields }: Record<string, unknown> = JSON.parse(finishLine(line, 'json'))
  const message = oneLine(String(msg))
  const described = Object.entries(fields).map(([key, value]) => {
    return `${oneLine(key)}: ${key === onlyInLog ? '[in the log only]' : shown(value)}`
  })
  return { level: String(fields['level']), message, text: `${message}\n\n${described.join('\n')}\n` }
}

/** Text as it is, unless it could be taken for another field. */
function shown(value: unknown): string {
  return typeof value === 'string' && !/\p{Cc}/u.test(value) ? value : JSON.stringify(value)
}

/** For a header: nothing in it ends one. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').slice(0, 200)
}
