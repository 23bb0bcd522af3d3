import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NotificationsConfig } from '../../src/config/notifications-section.ts'
import { load, minimal, refusal } from './given.ts'

function notifications(keys: string): NotificationsConfig {
  const { config, warnings } = load(`${minimal}notifications: ${keys}\n`)
  assert.deepEqual(warnings, [])
  return config.notifications
}

const usual = {
  name: 'a.example:8443',
  url: new URL('https://a.example:8443/hook?token=b'),
  headers: {},
  timeout: 1000,
  threshold: 10,
  backoff: 1000,
  ignoredMediaTypes: [],
  ignoredActions: [],
  cache: false,
}
const url = "url: 'https://a.example:8443/hook?token=b'"

test('without the section nobody is told anything', () => {
  const none = { includeReferences: false, queue: { maxEvents: 100_000, maxSize: 64 * 1024 ** 2 }, endpoints: [] }
  assert.deepEqual(load(minimal).config.notifications, none)
  assert.deepEqual(notifications('{ endpoints: [{ name: a, disabled: true }] }'), none)
  assert.deepEqual(notifications('{ queue: { maxevents: 0, maxsize: 0 } }'), none)
})

test('each key of an endpoint is read, and each has its default', () => {
  for (const [keys, expected] of [
    [url, usual],
    [`${url}, timeout: 0, threshold: 0, backoff: 0s`, usual],
    [`${url}, threshold: -1`, usual],
    [
      `${url}, name: b, headers: { A: [c, d] }, timeout: 500ms, threshold: 3, backoff: 2000000000, cache: true`,
      { ...usual, name: 'b', headers: { A: ['c', 'd'] }, timeout: 500, threshold: 3, backoff: 2000, cache: true },
    ],
    [
      `${url}, ignoredmediatypes: [a/b, c/d], ignore: { mediatypes: [c/d, e/f], actions: [pull] }`,
      { ...usual, ignoredMediaTypes: ['a/b', 'c/d', 'e/f'], ignoredActions: ['pull'] },
    ],
  ] as const) {
    const { endpoints } = notifications(`{ endpoints: [{ ${keys} }] }`)
    assert.deepEqual(endpoints, [expected], keys)
    assert.equal(endpoints[0]?.url.href, usual.url.href)
  }
})

test('the queue and the references are read', () => {
  const { includeReferences, queue } = notifications(
    '{ events: { includereferences: true }, queue: { maxevents: 5, maxsize: 2KiB } }',
  )
  assert.deepEqual([includeReferences, queue], [true, { maxEvents: 5, maxSize: 2048 }])
})

test('endpoints of one name are told apart', () => {
  const { endpoints } = notifications(
    `{ endpoints: [{ ${url} }, { ${url}, name: b }, { ${url} }, { ${url}, name: b }] }`,
  )
  assert.deepEqual(
    endpoints.map(({ name }) => name),
    ['a.example:8443', 'b', 'a.example:8443 (2)', 'b (2)'],
  )
})

test('an endpoint needs the URL of a web server', () => {
  for (const [keys, said] of [
    ['name: a', /^notifications\.endpoints\[0\]\.url: missing, expected an http or https URL$/],
    ['url: ftp://a', /^notifications\.endpoints\[0\]\.url: found something else, expected an http or https URL$/],
    ['url: a.example', /^notifications\.endpoints\[0\]\.url: found something else/],
    ["url: 'https://a', headers: { 'a b': [c] }", /^notifications\.endpoints\[0\]\.headers: found what is no name/],
    ['url: \'https://a\', headers: { A: ["b\\nc"] }', /^notifications\.endpoints\[0\]\.headers\.A: found characters/],
  ] as const) {
    assert.match(refusal(`${minimal}notifications: { endpoints: [{ ${keys} }] }`), said, keys)
  }
})
