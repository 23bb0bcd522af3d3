// What clients may take of this server, and whose word on them counts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load, minimal, refusal } from './given.ts'

test('http.limits and http.trustedproxies are read', () => {
  const { config, warnings } = load(`${minimal}
http:
  trustedproxies: [10.0.0.0/8, 192.0.2.1, 'fd00::/8', unix]
  limits: { connections: 1000, requests: 64, rate: 200, headertime: 10s, idle: 1m, keepalive: 5s }
`)
  assert.deepEqual(config.http.limits, {
    connections: 1000,
    requests: 64,
    rate: 200,
    headerTime: 10_000,
    idle: 60_000,
    keepAlive: 5000,
  })
  assert.deepEqual(config.http.trustedProxies, [
    { address: '10.0.0.0', prefix: 8, family: 'ipv4' },
    { address: '192.0.2.1', prefix: 32, family: 'ipv4' },
    { address: 'fd00::', prefix: 8, family: 'ipv6' },
    'unix',
  ])
  assert.deepEqual(warnings, [])
})

test('what is no network, and a wait without an end, are refused', () => {
  for (const text of ['10.0.0.0/33', 'fd00::/129', '10.0.0/8', 'proxy.example', '10.0.0.0/', '*']) {
    assert.match(
      refusal(`${minimal}http: { trustedproxies: ['${text}'] }`),
      /^http\.trustedproxies\[0\]: found ".*", expected an addr/,
    )
  }
  assert.match(
    refusal(`${minimal}http: { limits: { idle: 0s } }`),
    /^http\.limits\.idle: found "0s", expected a duration/,
  )
  assert.match(refusal(`${minimal}http: { limits: { connections: -1 } }`), /^http\.limits\.connections: found "-1"/)
})
