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
    certificate: path('ours.pem'),
    key: path('ours.key'),
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
  ['letsencrypt: { email: a@b.c }', /^http\.tls\.letsencrypt: not supported yet/],
]

for (const [tls, message] of refused) {
  test(`http.tls with ${tls} is refused in one line that names the key`, () => {
    const line = refusal(yaml(tls))
    assert.match(line, message)
    assert.doesNotMatch(line, /hunter2|BEGIN/)
  })
}
