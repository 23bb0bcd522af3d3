// `log.hooks`: a mail hook that could never send anything does not pass for one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { folder, load, minimal, refusal } from './given.ts'

const files = folder({ password: 'hunter2\n', empty: '\n' })

function withHook(hook: string): string {
  return `${minimal}log: { hooks: [{ ${hook} }] }`
}

test('distribution’s mail hook is read, and ours besides', () => {
  const { config, warnings } = load(`${minimal}
log:
  hooks:
    - { type: mail, disabled: true }
    - type: mail
      levels: [panic, error, warning]
      options:
        smtp: { addr: 'mail.example.com:25', username: me, password: hush, insecure: true }
        from: registry@example.com
        to: [ops@example.com, night@example.com]
    - type: mail
      options:
        smtp: { addr: '[::1]:587', username: me, passwordfile: ${files.path}/password }
        to: [ops@example.com]
        perhour: 3
`)
  assert.deepEqual(config.log.hooks, [
    {
      levels: ['error', 'warn'],
      smtp: {
        host: 'mail.example.com',
        port: 25,
        credentials: { username: 'me', password: 'hush' },
        insecure: true,
      },
      from: 'registry@example.com',
      to: ['ops@example.com', 'night@example.com'],
      perHour: 20,
    },
    {
      levels: ['error'],
      smtp: { host: '::1', port: 587, credentials: { username: 'me', password: 'hunter2' }, insecure: false },
      from: undefined,
      to: ['ops@example.com'],
      perHour: 3,
    },
  ])
  assert.deepEqual(warnings, [])
})

test('a mail hook that lacks something is refused, without its password', () => {
  const smtp = 'type: mail, options: { to: [a@b], smtp: { addr: "m:25"'
  const refusals: readonly (readonly [string, string])[] = [
    [withHook('levels: [error]'), 'log.hooks[0].type: missing, expected mail'],
    [withHook('type: sentry'), 'log.hooks[0].type: found "sentry", expected mail'],
    [
      withHook('type: mail, levels: [loud]'),
      'log.hooks[0].levels[0]: found "loud", expected panic, fatal, error, warning, warn, info, debug or trace',
    ],
    [withHook('type: mail'), 'log.hooks[0].options.to: missing, expected a list of mail addresses'],
    [
      withHook('type: mail, options: { to: [a@b] }'),
      'log.hooks[0].options.smtp.addr: missing, expected the address of a mail server, such as mail.example.com:25',
    ],
    [
      withHook('type: mail, options: { to: [a@b], smtp: { addr: ":25" } }'),
      'log.hooks[0].options.smtp.addr: found ":25", expected the address of a mail server, such as mail.example.com:25',
    ],
    [
      withHook('type: mail, options: { to: ["a@b\\r\\nBcc: c@d"] }'),
      'log.hooks[0].options.to[0]: found "…@d", expected a mail address, such as ops@example.com',
    ],
    [
      withHook('type: mail, options: { perhour: 0 }'),
      'log.hooks[0].options.perhour: found "0", expected a whole number, 1 or more',
    ],
    [
      withHook(`${smtp}, password: hunter2 } }`),
      'log.hooks[0].options.smtp.username: missing, expected beside password',
    ],
    [
      withHook(`${smtp}, username: me } }`),
      'log.hooks[0].options.smtp.username: found without a password, expected password or passwordfile beside it',
    ],
    [
      withHook(`${smtp}, username: me, password: hunter2, passwordfile: /p } }`),
      'log.hooks[0].options.smtp.passwordfile: found beside password, expected one of the two',
    ],
    [
      withHook(`${smtp}, username: me, passwordfile: ${files.path}/empty } }`),
      `log.hooks[0].options.smtp.passwordfile: ${files.path}/empty is empty, expected a password in it`,
    ],
  ]
  for (const [yaml, message] of refusals) assert.equal(refusal(yaml), message)
})
