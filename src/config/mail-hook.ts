// `log.hooks`: mail about lines of the log. distribution's keys, with `passwordfile` and `perhour` of ours.
import { findAddress, type Address } from './address.ts'
import { ConfigError, formatPath, misfit, type KeyPath } from './config-error.ts'
import { flag, integer, leaf, mailAddress, oneOf, text } from './leaf.ts'
import type { LogLevel } from './log-level.ts'
import { readPassword, resolvePath } from './named-file.ts'
import { list, section, type ResolveContext, type Schema } from './section.ts'

export interface MailHookConfig {
  readonly levels: readonly LogLevel[]
  readonly smtp: SmtpConfig
  /** `undefined`: whoever sends it, in this machine's name. */
  readonly from: string | undefined
  /** At least one. */
  readonly to: readonly string[]
  /** Mails an hour; one at least. */
  readonly perHour: number
}

export interface SmtpConfig {
  readonly host: string
  readonly port: number
  readonly credentials: { readonly username: string; readonly password: string } | undefined
  /** Any certificate will do, and the password may be sent in the clear. */
  readonly insecure: boolean
}

interface SmtpInput {
  readonly addr?: Address | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly passwordfile?: string | undefined
  readonly insecure?: boolean | undefined
}

interface OptionsInput {
  readonly smtp?: SmtpInput | undefined
  readonly from?: string | undefined
  readonly to?: string[] | undefined
  readonly perhour?: number | undefined
}

export interface MailHookInput {
  readonly type?: 'mail' | undefined
  readonly disabled?: boolean | undefined
  readonly levels?: LevelName[] | undefined
  readonly options?: OptionsInput | undefined
}

const levelNames = ['panic', 'fatal', 'error', 'warning', 'warn', 'info', 'debug', 'trace'] as const

type LevelName = (typeof levelNames)[number]

/** distribution's levels, and which of ours they are. */
const levels: Readonly<Record<LevelName, LogLevel>> = {
  panic: 'error',
  fatal: 'error',
  error: 'error',
  warning: 'warn',
  warn: 'warn',
  info: 'info',
  debug: 'debug',
  trace: 'debug',
}

const mailServer = 'the address of a mail server, such as mail.example.com:25'

const server = leaf(mailServer, (value) => {
  const found = findAddress(value)
  return found === undefined || found.host === '' || found.port === 0 ? undefined : found
})

export const mailHooksSchema: Schema<MailHookInput[]> = list(
  section({
    type: oneOf(['mail']),
    disabled: flag,
    levels: list(oneOf(levelNames)),
    options: section({
      smtp: section({ addr: server, username: text, password: text, passwordfile: text, insecure: flag }),
      from: mailAddress,
      to: list(mailAddress),
      perhour: integer(1, 'a whole number, 1 or more'),
    }),
  }),
)

const defaultPerHour = 20

/** @throws ConfigError where a hook could never send anything */
export function resolveMailHooks(inputs: readonly MailHookInput[], context: ResolveContext): MailHookConfig[] {
  return inputs.flatMap((input, index) => {
    if (input.disabled === true) return []
    const path: KeyPath = ['log', 'hooks', index]
    if (input.type === undefined) throw misfit([...path, 'type'], undefined, 'mail')
    const { smtp = {}, from, to = [], perhour } = input.options ?? {}
    const at: KeyPath = [...path, 'options']
    if (to.length === 0) throw misfit([...at, 'to'], undefined, 'a list of mail addresses')
    const asked = (input.levels ?? ['error']).map((name) => levels[name])
    return [
      {
        levels: [...new Set(asked)],
        smtp: resolveSmtp(smtp, [...at, 'smtp'], context),
        from,
        to,
        perHour: perhour ?? defaultPerHour,
      },
    ]
  })
}

function resolveSmtp(input: SmtpInput, at: KeyPath, context: ResolveContext): SmtpConfig {
  if (input.addr === undefined) throw misfit([...at, 'addr'], undefined, mailServer)
  const { host, port } = input.addr
  return { host, port, credentials: resolveCredentials(input, at, context), insecure: input.insecure ?? false }
}

function resolveCredentials(
  { username, password, passwordfile }: SmtpInput,
  at: KeyPath,
  context: ResolveContext,
): SmtpConfig['credentials'] {
  const key = (name: string): string => formatPath([...at, name])
  if (password !== undefined && passwordfile !== undefined) {
    throw new ConfigError(`${key('passwordfile')}: found beside password, expected one of the two`)
  }
  const form = password === undefined ? 'passwordfile' : 'password'
  if (password === undefined && passwordfile === undefined) {
    if (username === undefined) return undefined
    throw new ConfigError(`${key('username')}: found without a password, expected password or passwordfile beside it`)
  }
  if (username === undefined) throw new ConfigError(`${key('username')}: missing, expected beside ${form}`)
  return {
    username,
    password: password ?? readPassword(resolvePath(passwordfile ?? '', context), key('passwordfile')),
  }
}
