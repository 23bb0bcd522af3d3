// T-89: what is believed of what proxies, and those who only claim to be some, say of a client.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Request } from '../../src/http/exchange.ts'
import { TrustedProxies } from '../../src/http/forwarded.ts'
import { listen } from '../../src/http/listener.ts'
import { ask } from '../support/client.ts'
import { recordingLogger } from '../support/recording-logger.ts'

const proxies = new TrustedProxies([
  { address: '10.0.0.0', prefix: 8, family: 'ipv4' },
  { address: 'fd00::', prefix: 8, family: 'ipv6' },
])

type Row = [what: string, peer: string, headers: Record<string, string>, sender: [string, string?, string?]]

const rows: readonly Row[] = [
  ['a stranger', '192.0.2.1', { 'x-forwarded-for': '1.1.1.1', 'x-forwarded-proto': 'https' }, ['192.0.2.1']],
  ['a stranger with Forwarded', '192.0.2.1', { forwarded: 'for=1.1.1.1;proto=https;host=a' }, ['192.0.2.1']],
  ['a proxy that says nothing', '10.0.0.1', {}, ['10.0.0.1']],
  [
    'a proxy',
    '10.0.0.1',
    { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'r.example:8443' },
    ['192.0.2.1', 'https', 'r.example:8443'],
  ],
  ['a proxy by IPv6', 'fd00::1', { 'x-forwarded-for': '2001:db8::1' }, ['2001:db8::1']],
  ['a proxy that names the port', '10.0.0.1', { 'x-forwarded-for': '192.0.2.1:4711' }, ['192.0.2.1']],
  ['a proxy that names the port of IPv6', '10.0.0.1', { 'x-forwarded-for': '[2001:db8::1]:4711' }, ['2001:db8::1']],
  ['what a client made up before the proxy', '10.0.0.1', { 'x-forwarded-for': '1.1.1.1, 192.0.2.1' }, ['192.0.2.1']],
  ['two proxies', '10.0.0.1', { 'x-forwarded-for': '1.1.1.1, 192.0.2.1, 10.0.0.2' }, ['192.0.2.1']],
  ['proxies all the way', '10.0.0.1', { 'x-forwarded-for': '10.0.0.3, 10.0.0.2' }, ['10.0.0.3']],
  ['what is no address', '10.0.0.1', { 'x-forwarded-for': '1.1.1.1, unknown' }, ['10.0.0.1']],
  ['what is no address, behind one', '10.0.0.1', { 'x-forwarded-for': '1.1.1.1, x, 10.0.0.2' }, ['10.0.0.2']],
  ['nothing at all', '10.0.0.1', { 'x-forwarded-for': '' }, ['10.0.0.1']],
  ['a scheme that is none', '10.0.0.1', { 'x-forwarded-proto': 'gopher' }, ['10.0.0.1']],
  [
    'Forwarded',
    '10.0.0.1',
    { forwarded: 'for=1.1.1.1;host=evil, For="[2001:db8::1]:80"; Proto=HTTPS;host="r.example"' },
    ['2001:db8::1', 'https', 'r.example'],
  ],
  ['Forwarded of two', '10.0.0.1', { forwarded: 'for=192.0.2.1;proto=https, for=10.0.0.2' }, ['192.0.2.1', 'https']],
  ['Forwarded that hides', '10.0.0.1', { forwarded: 'for=1.1.1.1, for=_hidden;proto=https' }, ['10.0.0.1', 'https']],
  ['Forwarded with a comma', '10.0.0.1', { forwarded: 'for=192.0.2.1;by="a,b;for=1.1.1.1"' }, ['192.0.2.1']],
  ['Forwarded that is rubbish', '10.0.0.1', { forwarded: ';;=,,"' }, ['']],
  ['a quote that a client leaves open', '10.0.0.1', { forwarded: 'for=10.1.1.1;x=", for="[2001:db8::1]"' }, ['']],
  [
    'a client’s Forwarded beside what the proxy says',
    '10.0.0.1',
    { forwarded: 'for=1.1.1.1', 'x-forwarded-for': '192.0.2.1' },
    ['192.0.2.1'],
  ],
  ['a unix socket that is not trusted', '', { 'x-forwarded-for': '192.0.2.1' }, ['']],
]

for (const [what, peer, headers, [address, scheme, host]] of rows) {
  test(`T-89: ${what}: the client is ${address || 'unknown'}`, () => {
    const found = proxies.senderOf(peer, headers)
    assert.deepEqual([found.address, found.scheme, found.host], [address, scheme, host])
  })
}

test('T-89: what reaches us by a unix socket is believed where that is said', () => {
  const found = new TrustedProxies(['unix']).senderOf('', { 'x-forwarded-for': '192.0.2.1' })
  assert.equal(found.address, '192.0.2.1')
})

test('T-89: handlers and the log see the client: the peer, or what a trusted proxy says', async () => {
  const headers = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'r.example' }
  for (const trusted of [false, true]) {
    const { logger, lines } = recordingLogger()
    const seen: Pick<Request, 'address' | 'scheme' | 'host'>[] = []
    await using listener = await listen(
      async ({ address, scheme, host }) => {
        seen.push({ address, scheme, host })
        return { status: 200, headers: {} }
      },
      {
        host: '::',
        port: 0,
        logger,
        trustedProxies: trusted ? new TrustedProxies([{ address: '127.0.0.0', prefix: 8, family: 'ipv4' }]) : undefined,
      },
    )
    const own = `127.0.0.1:${listener.port}`
    await ask(`http://${own}`, { headers })
    const expected = trusted
      ? { address: '192.0.2.1', scheme: 'https', host: 'r.example' }
      : { address: '127.0.0.1', scheme: 'http', host: own }
    assert.deepEqual(seen, [expected])
    assert.equal(lines[0]?.['client'], expected.address)
  }
})
