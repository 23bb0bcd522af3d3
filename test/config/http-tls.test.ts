// The certificate that we show, and whom we let in by theirs.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { LoadedConfig } from '../../src/config/load.ts'
import { makeAuthority } from '../support/certificates.ts'
import { folder, load, minimal, refusal } from './given.ts'

const authority = makeAuthority()
const ours = authority.issue({ names: ['us.test'] })
const files = folder({
  'ca.pem': authority.certificate,
  'ours.pem': ours.certificate,
  'ours.key': ours.key,
  'other.key': authority.issue().key,
  'words.txt': 'hunter2',
})
test.after(() => files[Symbol.dispose]())

const path = (name: string): string => join(files.path, name)

/** A file's name stands for its place. */
function yaml(tls: string): string {
  return `${minimal}http: { tls: { ${tls.replaceAll(/\b\w+\.(?:pem|key|txt)\b/g, path)} } }`
}

function loadTls(tls: string): LoadedConfig {
  return load(yaml(tls))
}

const identity = 'certificate: ours.pem, key: ours.key'

test('a certificate and its key are enough', () => {
  const { config, warnings } = loadTls(identity)
  assert.deepEqual(config.http.tls, {
    identity: { kind: 'files', certificate: path('ours.pem'), key: path('ours.key') },
    clientAuthorities: [],
    clientAuth: 'require-and-verify-client-cert',
    minimumVersion: 'TLSv1.2',
    ciphers: undefined,
  })
  assert.deepEqual(warnings, [])
})

test('without a certificate it is plain HTTP, whatever else is said', () => {
  for (const tls of ['', 'minimumtls: tls1.3', 'certificate: , key: , clientcas: ']) {
    assert.equal(loadTls(tls).config.http.tls, undefined, tls)
  }
})

test('what is asked of clients, the least version and the ciphers are read', () => {
  const { config } = loadTls(
    `${identity}, clientcas: [ca.pem], clientauth: request-client-cert, minimumtls: tls1.3, ` +
      'ciphersuites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_256_GCM_SHA384]',
  )
  const { clientAuthorities, clientAuth, minimumVersion, ciphers } = config.http.tls ?? {}
  assert.deepEqual(
    [clientAuthorities, clientAuth, minimumVersion],
    [[path('ca.pem')], 'request-client-cert', 'TLSv1.3'],
  )
  assert.equal(
    ciphers,
    'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-RSA-AES128-SHA:AES256-GCM-SHA384',
  )
})

test('clientauth alone asks nobody, which is said', () => {
  const { warnings } = loadTls(`${identity}, clientauth: require-any-client-cert`)
  assert.deepEqual(warnings, ['http.tls.clientauth has no effect without clientcas'])
})

test('a certificate of an authority: who it is for, and where it is kept', () => {
  const { config, warnings } = loadTls(
    'letsencrypt: { cachefile: /tmp/kept.json, hosts: [Registry.Example.com, b.test] }',
  )
  const letsencrypt = {
    kind: 'letsencrypt',
    cacheFile: '/tmp/kept.json',
    email: undefined,
    hosts: ['registry.example.com', 'b.test'],
    directory: 'https://acme-v02.api.letsencrypt.org/directory',
    httpProxy: undefined,
  }
  assert.deepEqual(config.http.tls?.identity, letsencrypt)
  assert.deepEqual(warnings, [])
  const others = 'email: ops@a.test, directoryurl: https://a.test/dir'
  const { identity: chosen } =
    load(yaml(`letsencrypt: { cachefile: /tmp/k, hosts: [a.test, a.test], ${others} }, clientcas: [ca.pem]`), {
      HTTPS_PROXY: 'proxy.test:3128',
    }).config.http.tls ?? {}
  assert.ok(chosen?.kind === 'letsencrypt')
  assert.deepEqual([chosen.email, chosen.directory, chosen.hosts], ['ops@a.test', 'https://a.test/dir', ['a.test']])
  assert.equal(chosen.httpProxy?.https?.href, 'http://proxy.test:3128/')
})

test('letsencrypt without a key inside asks for nothing', () => {
  assert.equal(loadTls('letsencrypt: { cachefile: , hosts: }').config.http.tls, undefined)
})

const refused: ReadonlyArray<[tls: string, message: RegExp]> = [
  ['certificate: ours.pem', /^http\.tls\.key: missing, expected beside certificate$/],
  ['key: ours.key', /^http\.tls\.certificate: missing, expected beside key$/],
  ['clientcas: [ca.pem]', /^http\.tls\.certificate: missing, expected beside clientcas$/],
  [
    'certificate: ours.pem, key: other.key',
    /^http\.tls\.key: .*other\.key is another key than that of the certificate$/,
  ],
  ['certificate: words.txt, key: ours.key', /^http\.tls\.certificate: .*words\.txt holds no certificate/],
  ['certificate: /nowhere, key: ours.key', /^http\.tls\.certificate: \/nowhere cannot be read: ENOENT$/],
  [`${identity}, clientcas: [words.txt]`, /^http\.tls\.clientcas\[0\]: .*words\.txt holds no certificate/],
  [`${identity}, clientauth: none`, /^http\.tls\.clientauth: found "none", expected request-client-cert, /],
  [`${identity}, minimumtls: tls1.0`, /^http\.tls\.minimumtls: found "tls1\.0", expected tls1\.2 or tls1\.3: older/],
  [`${identity}, ciphersuites: [TLS_RSA_WITH_RC4_128_SHA]`, /^http\.tls\.ciphersuites\[0\]: found "TLS_RSA_WITH_RC4/],
  [
    `${identity}, letsencrypt: { hosts: [a.test], cachefile: /tmp/kept }`,
    /^http\.tls\.letsencrypt: found beside certificate, expected one of the two$/,
  ],
  ['key: ours.key, letsencrypt: { hosts: [a.test] }', /^http\.tls\.letsencrypt: found beside key, expected one of/],
  [
    'letsencrypt: { cachefile: /tmp/kept }',
    /^http\.tls\.letsencrypt\.hosts: missing, expected the names that we are reached by: without them anybody could/,
  ],
  ['letsencrypt: { cachefile: /tmp/kept, hosts: [] }', /^http\.tls\.letsencrypt\.hosts: missing, /],
  ['letsencrypt: { hosts: [a.test] }', /^http\.tls\.letsencrypt\.cachefile: missing, expected a file to keep/],
  [
    'letsencrypt: { hosts: [a.test], cachefile: /tmp }',
    /^http\.tls\.letsencrypt\.cachefile: \/tmp is a folder, as distribution keeps one, expected a file$/,
  ],
  [
    'letsencrypt: { hosts: [a.test], cachefile: /nowhere/kept }',
    /^http\.tls\.letsencrypt\.cachefile: \/nowhere is no folder, expected one to keep the file in$/,
  ],
  [
    'letsencrypt: { hosts: [a.test], cachefile: words.txt/kept }',
    /^http\.tls\.letsencrypt\.cachefile: .*words\.txt is no folder/,
  ],
  [
    "letsencrypt: { hosts: ['*.a.test'] }",
    /^http\.tls\.letsencrypt\.hosts\[0\]: found "\*\.a\.test", expected a DNS name/,
  ],
  [
    'letsencrypt: { hosts: [192.0.2.1] }',
    /^http\.tls\.letsencrypt\.hosts\[0\]: found "192\.0\.2\.1", expected a DNS name/,
  ],
  ["letsencrypt: { hosts: ['[::1]'] }", /^http\.tls\.letsencrypt\.hosts\[0\]: /],
  ['letsencrypt: { hosts: [https://a.test] }', /^http\.tls\.letsencrypt\.hosts\[0\]: /],
  [
    'letsencrypt: { hosts: [a.test], email: me }',
    /^http\.tls\.letsencrypt\.email: found "me", expected a mail address/,
  ],
  [
    'letsencrypt: { hosts: [a.test], directoryurl: http://a.test/dir }',
    /^http\.tls\.letsencrypt\.directoryurl: found "http:\/\/a\.test\/dir", expected the https URL of an authority/,
  ],
  [
    `letsencrypt: { cachefile: /tmp/kept, hosts: [${Array.from({ length: 101 }, (_, index) => `a${index}.test`).join()}] }`,
    /^http\.tls\.letsencrypt\.hosts: found 101, expected 100 at most$/,
  ],
]

for (const [tls, message] of refused) {
  test(`http.tls with ${tls} is refused in one line that names the key`, () => {
    const line = refusal(yaml(tls))
    assert.match(line, message)
    assert.doesNotMatch(line, /hunter2|BEGIN/)
  })
}
