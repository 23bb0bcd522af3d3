// What a proxy in front says of a client: src/http/forwarded.ts. A line each for Forwarded and the X-Forwarded ones.
import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import { TrustedProxies } from '../../../src/http/forwarded.ts'
import type { Target } from '../fuzzer.ts'

const proxies = new TrustedProxies([
  { address: '10.0.0.0', prefix: 8, family: 'ipv4' },
  { address: 'fd00::', prefix: 8, family: 'ipv6' },
])

export const target: Target = {
  seeds: [
    'for=192.0.2.1;proto=https;host=a.example, for="[2001:db8::1]:80"',
    'for=10.0.0.2, for=unknown;by="a,b;c"',
    '\n192.0.2.1, 10.0.0.3\nhttps\na.example',
    '\n[fd00::1]:8080\nHTTP\n',
  ],
  words: [
    'for=',
    'proto=',
    'host=',
    '"',
    '\\',
    ',',
    ';',
    '[',
    ']:80',
    '10.0.0.1',
    '::ffff:10.0.0.1',
    'fd00::1%eth0',
    '\n',
  ],
  check(input) {
    const [forwarded, addresses, scheme, host] = input.split('\n')
    const headers = {
      ...(forwarded !== undefined && forwarded !== '' && { forwarded }),
      ...(addresses !== undefined && { 'x-forwarded-for': addresses }),
      ...(scheme !== undefined && { 'x-forwarded-proto': scheme }),
      ...(host !== undefined && { 'x-forwarded-host': host }),
    }
    const sender = proxies.senderOf('10.0.0.1', headers)
    assert.ok(sender.address === '' || isIP(sender.address) !== 0, sender.address)
    assert.ok(['http', 'https', undefined].includes(sender.scheme))
    assert.deepEqual(proxies.senderOf('192.0.2.9', headers), { address: '192.0.2.9' }, 'a stranger is believed')
    if (addresses !== undefined) return
    const added = proxies.senderOf('10.0.0.1', { forwarded: `${forwarded ?? ''}, for=203.0.113.5` })
    assert.ok(['203.0.113.5', ''].includes(added.address), 'what the proxy adds counts, or nothing does')
  },
}
