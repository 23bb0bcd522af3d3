// Private authorities and certificates of ours.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeAuthority } from '../support/certificates.ts'
import { folder, load, minimal, refusal } from './given.ts'

const authority = makeAuthority()
const other = makeAuthority()
const ours = authority.issue({ names: ['us.test'] })

const names = ['ca.pem', 'two.pem', 'ours.pem', 'ours.key', 'other.key', 'words.txt', 'torn.pem'] as const
const files = folder({
  'ca.pem': authority.certificate,
  'two.pem': `# ours\n${authority.certificate}\n# theirs\n${other.certificate}`,
  'ours.pem': ours.certificate,
  'ours.key': ours.key,
  'other.key': other.key,
  'words.txt': 'hunter2',
  'torn.pem': authority.certificate.replace(/.{20}\n-----END/s, '\n-----END'),
})

/** A file's name stands for its place. */
function withPaths(yaml: string): string {
  return names.reduce((text, name) => text.replaceAll(` ${name}`, ` ${files.path}/${name}`), yaml)
}

test('tls of an upstream, of a mirror and of remoteurl is read at start', () => {
  const tls = withPaths('tls: { ca: two.pem, certificate: ours.pem, key: ours.key }')
  const read = {
    ca: `# ours\n${authority.certificate}\n# theirs\n${other.certificate}`,
    identity: { certificate: ours.certificate, key: ours.key },
  }
  const onlyUpstream = (yaml: string): ReturnType<typeof load>['config'] => load(`${minimal}proxy: { ${yaml} }`).config
  const [named] = onlyUpstream(`upstreams: { a: { url: https://a, ${tls} } }`).proxy?.upstreams ?? []
  assert.deepEqual(named?.tls, read)
  const [only] = onlyUpstream(`remoteurl: https://a, ${tls}`).proxy?.upstreams ?? []
  assert.deepEqual(only?.tls, read)
  const [mirrored] = onlyUpstream(`remoteurl: http://a, mirrors: [{ url: https://b, ${tls} }]`).proxy?.upstreams ?? []
  assert.deepEqual(mirrored?.mirrors[0]?.tls, read)
  assert.deepEqual(mirrored?.tls, { ca: undefined, identity: undefined })
})

const refused: ReadonlyArray<[what: string, tls: string, message: RegExp, url?: string]> = [
  ['a file that is not there', 'ca: /nowhere.pem', /\.tls\.ca: \/nowhere\.pem cannot be read: ENOENT$/],
  ['an authority that is none', 'ca: words.txt', /\.tls\.ca: .*words\.txt holds no certificate, expected some in PEM$/],
  ['an authority that is torn', 'ca: torn.pem', /\.tls\.ca: .*torn\.pem holds a certificate that cannot be read$/],
  ['a key alone', 'key: ours.key', /\.tls\.certificate: missing, expected beside key$/],
  ['a certificate alone', 'certificate: ours.pem', /\.tls\.key: missing, expected beside certificate$/],
  [
    'a key that is none',
    'certificate: ours.pem, key: words.txt',
    /\.tls\.key: .*words\.txt holds no private key, expected one in PEM without a passphrase$/,
  ],
  [
    'the key of another certificate',
    'certificate: ours.pem, key: other.key',
    /\.tls\.key: .*other\.key is another key than that of the certificate$/,
  ],
  ['plain HTTP', 'ca: ca.pem', /\.tls: found beside an http URL, expected an https URL$/, 'http://a'],
  ['a way to turn it off', 'insecure: true', /\.tls\.insecure: unknown key/],
]

for (const [what, tls, message, url = 'https://a'] of refused) {
  test(`tls with ${what} is refused in one line that names the key`, () => {
    const line = refusal(withPaths(`${minimal}proxy: { upstreams: { a.b: { url: ${url}, tls: { ${tls} } } } }`))
    assert.match(line, /^proxy\.upstreams\.a\.b\.tls/)
    assert.match(line, message)
    assert.doesNotMatch(line, /hunter2|BEGIN/)
  })
}

test('tls beside upstreams is unclear about whose it is', () => {
  const line = refusal(withPaths(`${minimal}proxy: { tls: { ca: ca.pem }, upstreams: { a: { url: https://a } } }`))
  assert.match(line, /^proxy\.tls: belongs to proxy\.remoteurl/)
})

test.after(() => files[Symbol.dispose]())
