// Mail about lines of the log, to a real socket.
import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { test } from 'node:test'
import { createLogger, type Logger } from '../../src/telemetry/logger.ts'
import { openLogMail, type LogMail, type MailHook } from '../../src/telemetry/log-mail.ts'
import { MailBox, type Letter, type MailClock } from '../../src/telemetry/mail-box.ts'
import { startMailServer, type MailServer, type ReceivedMail } from '../support/mail-server.ts'

interface Mailing extends AsyncDisposable {
  readonly logger: Logger
  readonly mail: LogMail
  readonly lines: Record<string, unknown>[]
}

function mailing({ address, port }: MailServer, hook: Partial<MailHook> = {}): Mailing {
  const lines: Record<string, unknown>[] = []
  const destination = { write: (line: string): unknown => lines.push(JSON.parse(line) as Record<string, unknown>) }
  const whole: MailHook = {
    levels: ['error'],
    smtp: { host: address.slice(0, address.lastIndexOf(':')), port, credentials: undefined, insecure: false },
    from: 'registry@example.com',
    to: ['ops@example.com', 'night@example.com'],
    perHour: 20,
    ...hook,
  }
  const sayUnsent = (error: unknown): void => logger.error({ error }, 'mail about the log cannot be sent')
  const mail = openLogMail([whole], { onFailure: sayUnsent })
  const onLine = (line: string): void => mail.take(line)
  const logger: Logger = createLogger({ level: 'debug', destination, onLine })
  return { logger, mail, lines, [Symbol.asyncDispose]: async () => await mail[Symbol.asyncDispose]() }
}

function headerOf(mail: ReceivedMail | undefined, name: string): string | undefined {
  return mail?.headers.find((header) => header.toLowerCase().startsWith(`${name}: `))?.slice(name.length + 2)
}

const onFailure = (error: unknown): void => assert.fail(String(error))

/** A clock that a test moves on. */
function handClock(): MailClock & { pass(milliseconds: number): void } {
  let now = 0
  let pending: { readonly at: number; readonly run: () => void }[] = []
  return {
    now: () => now,
    after(milliseconds, run) {
      const timer = { at: now + milliseconds, run }
      pending.push(timer)
      return () => {
        pending = pending.filter((one) => one !== timer)
      }
    },
    pass(milliseconds) {
      now += milliseconds
      const due = pending.filter(({ at }) => at <= now)
      pending = pending.filter(({ at }) => at > now)
      for (const { run } of due) run()
    },
  }
}

test('a line of a wanted level is mailed, with its message and its fields', async () => {
  await using server = await startMailServer()
  await using mailed = mailing(server, { levels: ['error', 'warn'] })
  mailed.logger.info({ status: 200 }, 'request')
  mailed.logger.error({ digest: 'sha256:ab', error: new Error('disk says no'), password: 'hunter2' }, 'blob is lost')
  mailed.logger.warn('we coped')
  await server.until(2)
  const [first, second] = server.mails
  assert.deepEqual([first?.from, first?.to], ['registry@example.com', ['ops@example.com', 'night@example.com']])
  assert.equal(headerOf(first, 'subject'), `[error] ${hostname()}: blob is lost`)
  assert.equal(headerOf(first, 'auto-submitted'), 'auto-generated')
  assert.match(headerOf(first, 'to') ?? '', /ops@example\.com.*night@example\.com/)
  assert.match(headerOf(first, 'content-type') ?? '', /^text\/plain/)
  assert.match(
    first?.text ?? '',
    /^blob is lost\n\nlevel: error\ntime: 20.*\ndigest: sha256:ab\nerror: \{.*disk says no/,
  )
  assert.match(first?.text ?? '', /^password: \[redacted\]$/m)
  assert.equal(headerOf(second, 'subject'), `[warn] ${hostname()}: we coped`)
  assert.equal(server.mails.length, 2)
})

test('T-95, P8: what a stranger says ends no header, begins no field, and brings no secret along', async () => {
  await using server = await startMailServer()
  await using mailed = mailing(server)
  const hostile = 'a\r\nBcc: victim@example.com\r\n\r\nbody\r\n.\r\nMAIL FROM:<x@y>\u2028z'
  mailed.logger.error({ reference: hostile, [hostile]: 1, url: 'x' }, hostile)
  await server.until(1)
  mailed.logger.error({ authorization: 'Bearer hunter2', error: new Error('at https://a/?token=hunter2') }, 'failed')
  await server.until(2)
  const [mail] = server.mails
  assert.deepEqual(mail?.to, ['ops@example.com', 'night@example.com'])
  assert.equal(headerOf(mail, 'bcc'), undefined)
  assert.equal(mail?.headers.filter((header) => /victim/.test(header)).length, 1)
  assert.match(headerOf(mail, 'subject') ?? '', /: a Bcc: victim@example\.com body \. MAIL FROM/)
  assert.deepEqual(
    mail?.text.split('\n').filter((line) => /^(?:Bcc|MAIL|body|z)/.test(line)),
    [],
  )
  assert.doesNotMatch(JSON.stringify(server.mails), /hunter2/)
})

test('P7: so many mails an hour, then one summary of the rest', async () => {
  const clock = handClock()
  const sent: Letter[] = []
  const send = async (letter: Letter): Promise<void> => void sent.push(letter)
  const box = new MailBox({ sender: 'here', send, perHour: 3, onFailure, clock })
  for (let nth = 0; nth < 100; nth++) {
    const title = `kind ${Math.floor(nth / 4)}`
    box.put({ title, subject: String(nth), text: '' })
  }
  await box.empty() // sends the summary early: the server may be about to end
  assert.deepEqual(
    sent.map(({ subject }) => subject),
    ['0', '1', '2', 'here: 97 more lines'],
  )
  const named = sent[3]?.text.split('\n') ?? []
  assert.deepEqual(named.slice(0, 4), ['Not mailed one by one:', '', '1 × kind 0', '4 × kind 1'])
  assert.deepEqual(named.slice(-2), ['20 × something else', ''])
  for (const subject of ['a', 'b']) box.put({ title: 'kind', subject, text: '' })
  clock.pass(59 * 60_000)
  await new Promise(setImmediate)
  assert.equal(sent.length, 4)
  clock.pass(60_000)
  await box.empty()
  assert.equal(sent.at(-1)?.subject, 'here: 2 more lines')
  for (const subject of ['c', 'd', 'e']) box.put({ title: 'kind', subject, text: '' })
  await new Promise(setImmediate)
  assert.deepEqual(
    sent.slice(5).map(({ subject }) => subject),
    ['c', 'd'],
    'a summary is one of the hour',
  )
  clock.pass(3_600_000)
  box.put({ title: 'kind', subject: 'f', text: '' })
  await box.empty()
  assert.deepEqual(
    sent.slice(7).map(({ subject }) => subject),
    ['here: 1 more lines', 'f'],
  )
})

test('P7: letters that wait are bounded, whatever the hour allows', async () => {
  const sent: string[] = []
  let go: (() => void) | undefined
  const gate = new Promise<void>((resolve) => (go = resolve))
  const send = async ({ subject }: Letter): Promise<void> => {
    await gate
    sent.push(subject)
  }
  const box = new MailBox({ sender: 'here', send, perHour: 10_000, onFailure, clock: handClock() })
  for (let nth = 0; nth < 1000; nth++) box.put({ title: 'kind', subject: String(nth), text: '' })
  go?.()
  await box.empty()
  assert.equal(sent.length, 102)
  assert.equal(sent.at(-1), 'here: 899 more lines')
})

test('a server that refuses or is gone slows nobody, is said once, and that is not mailed', async () => {
  for (const mood of ['refuse', 'gone'] as const) {
    await using server = await startMailServer()
    if (mood === 'gone') await server[Symbol.asyncDispose]()
    else server.mood = mood
    await using mailed = mailing(server)
    for (let nth = 0; nth < 5; nth++) mailed.logger.error({ nth }, 'failed')
    assert.equal(mailed.lines.length, 5, 'nobody has waited')
    await mailed.mail[Symbol.asyncDispose]()
    const said = mailed.lines.filter((line) => line['msg'] === 'mail about the log cannot be sent')
    assert.equal(said.length, 1, mood)
    assert.equal(server.mails.length, 0)
    if (mood === 'gone') continue
    assert.equal(server.said.filter((line) => line === 'DATA').length, 5, 'one for each line, none for the failure')
    server.mood = 'take'
    mailed.logger.error('again')
    await server.until(1)
    assert.equal(headerOf(server.mails[0], 'subject'), `[error] ${hostname()}: again`)
  }
})

test('what waits is sent before the end', async () => {
  await using server = await startMailServer()
  {
    await using mailed = mailing(server, { perHour: 2 })
    for (let nth = 0; nth < 4; nth++) mailed.logger.error('failed')
  }
  assert.deepEqual(
    server.mails.map((mail) => headerOf(mail, 'subject')?.split(': ')[1]),
    ['failed', 'failed', '2 more lines'],
  )
})

test('P8: a password goes to this machine, or by TLS, or where insecure says so', async () => {
  const credentials = { username: 'me', password: 'hunter2' }
  await using own = await startMailServer()
  await using other = await startMailServer('127.0.0.2')
  const smtpOf = (server: MailServer, insecure: boolean): MailHook['smtp'] => {
    return { host: server.address.split(':')[0] ?? '', port: server.port, credentials, insecure }
  }
  await using toOwn = mailing(own, { smtp: smtpOf(own, false) })
  toOwn.logger.error('failed')
  await own.until(1)
  assert.deepEqual(own.mails[0]?.credentials, ['me', 'hunter2'])
  {
    await using toOther = mailing(other, { smtp: smtpOf(other, false) })
    toOther.logger.error('failed')
    await toOther.mail[Symbol.asyncDispose]()
    assert.deepEqual(
      toOther.lines.map((line) => line['msg']),
      ['failed', 'mail about the log cannot be sent'],
    )
    assert.doesNotMatch(JSON.stringify(toOther.lines), /hunter2/)
  }
  assert.doesNotMatch(other.said.join('\n'), /AUTH/)
  await using openly = mailing(other, { smtp: smtpOf(other, true) })
  openly.logger.error('failed')
  await other.until(1)
  assert.deepEqual(other.mails[0]?.credentials, ['me', 'hunter2'])
})
