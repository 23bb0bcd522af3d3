import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load, minimal, refusal } from './given.ts'

test('each key of health is read, and each has its default', () => {
  const { config, warnings } = load(`${minimal}
health:
  storagedriver: { enabled: true }
  file: [{ file: /down }, { file: /off, interval: 1m, threshold: 2 }]
  http: [{ uri: http://a/b }, { uri: https://c, headers: { X-A: [b] }, statuscode: 204, timeout: 1s, interval: 5s, threshold: 1 }]
  tcp: [{ addr: "a:1" }, { addr: "[::1]:2", timeout: 2s, interval: 0, threshold: 0 }]
`)
  const usual = { interval: 10_000, threshold: 0 }
  assert.deepEqual(config.health.storage, usual)
  assert.deepEqual(config.health.files, [
    { path: '/down', ...usual },
    { path: '/off', interval: 60_000, threshold: 2 },
  ])
  assert.deepEqual(
    config.health.http.map(({ url, ...rest }) => ({ url: url.href, ...rest })),
    [
      { url: 'http://a/b', headers: {}, status: 200, timeout: 3000, ...usual },
      { url: 'https://c/', headers: { 'X-A': ['b'] }, status: 204, timeout: 1000, interval: 5000, threshold: 1 },
    ],
  )
  assert.deepEqual(config.health.tcp, [
    { host: 'a', port: 1, timeout: 3000, ...usual },
    { host: '::1', port: 2, timeout: 2000, ...usual },
  ])
  assert.deepEqual(warnings, [])
})

test('a server is asked with a query, and without the headers that hold nothing', () => {
  const { config } = load(`${minimal}
health: { http: [{ uri: "https://a:8200/v1/sys/health?standbyok=true&x=?", headers: { Authorization: , X-A: [b] } }] }
`)
  const [check] = config.health.http
  assert.equal(check?.url.href, 'https://a:8200/v1/sys/health?standbyok=true&x=?')
  assert.deepEqual(check.headers, { 'X-A': ['b'] })
})

test('P7: nothing is looked at without a pause', () => {
  const { config } = load(`${minimal}health: { storagedriver: { enabled: true, interval: 1ns } }`)
  assert.equal(config.health.storage?.interval, 1000)
})

test('without an address there is no debug listener, and without being asked for there are no metrics', () => {
  for (const [keys, expected] of [
    ['{}', undefined],
    ['{ prometheus: { enabled: true } }', undefined],
    ['{ addr: "localhost:5001" }', { host: 'localhost', port: 5001, metricsPath: undefined }],
    ['{ addr: ":5001", prometheus: { path: /m } }', { host: '', port: 5001, metricsPath: undefined }],
    ['{ addr: ":5001", prometheus: { enabled: true } }', { host: '', port: 5001, metricsPath: '/metrics' }],
    ['{ addr: ":5001", prometheus: { enabled: true, path: /m/x } }', { host: '', port: 5001, metricsPath: '/m/x' }],
  ] as const) {
    assert.deepEqual(load(`${minimal}http: { debug: ${keys} }`).config.http.debug, expected, keys)
  }
})

test('a check that looks at nothing, and metrics where there is something else, are refused', () => {
  for (const [keys, line] of [
    ['health: { file: [{ interval: 10s }] }', 'health.file[0].file: found nothing, expected what to look at'],
    [
      'health: { http: [{ uri: "http://me:canary@a/?b" }] }',
      'health.http[0].uri: found "http://…@a/?…", expected an http or https URL with a host, without user name or fragment',
    ],
    [
      'health: { http: [{ uri: "http://a/#b" }] }',
      'health.http[0].uri: found "http://a/#b", expected an http or https URL with a host, without user name or fragment',
    ],
    ['health: { http: [{ statuscode: 200 }] }', 'health.http[0].uri: found nothing, expected what to look at'],
    [
      "health: { http: [{ uri: http://a, headers: { 'a b': [c] } }] }",
      'health.http[0].headers: found what is no name of a header, expected one such as Authorization',
    ],
    [
      'health: { http: [{ uri: http://a, headers: { A: ["b\\nc"] } }] }',
      'health.http[0].headers.A: found characters that no header can hold',
    ],
    ['health: { tcp: [{ timeout: 1s }] }', 'health.tcp[0].addr: found nothing, expected what to look at'],
    ['health: { tcp: [{ addr: ":1" }] }', 'health.tcp[0].addr: found ":1", expected an address such as localhost:6379'],
    [
      'http: { debug: { addr: ":1", prometheus: { enabled: true, path: /readyz } } }',
      'http.debug.prometheus.path: found "/readyz", expected a path of its own',
    ],
  ] as const) {
    assert.equal(refusal(`${minimal}${keys}`), line)
  }
})
