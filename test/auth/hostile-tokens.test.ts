// T-84: tokens that somebody made to get in, and beside them the good ones that must.
import assert from 'node:assert/strict'
import { sign, X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { thumbprint } from '../../src/auth/certificates.ts'
import { TokenController, type TokenOptions } from '../../src/auth/token.ts'
import { keyId } from '../../src/schema1/public-key.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { temporaryFolder } from '../support/app-under-test.ts'
import { issuedBy, makeAuthority, selfSigned } from '../support/certificates.ts'
import { chained, der } from './chained.ts'
import {
  claims,
  ec,
  ec384,
  ed,
  encode,
  issuer,
  jwkOf,
  keySet,
  minted,
  now,
  pull,
  rsa,
  secret,
  service,
  signer,
  stranger,
  token,
} from './tokens.ts'

const authority = makeAuthority()
const leaf = authority.issue()
const stale = authority.issue({ validFrom: -10, validTo: -5 })
const early = authority.issue({ validFrom: 5, validTo: 10 })
const otherAuthority = makeAuthority()
const otherLeaf = otherAuthority.issue()
const own = selfSigned()
const between = authority.issue({ isAuthority: true })
const staleBetween = authority.issue({ isAuthority: true, validFrom: -10, validTo: -5 })
const byBetween = issuedBy(between)
const byStaleBetween = issuedBy(staleBetween)
const byLeaf = issuedBy(leaf)

const good = minted()
const [header = '', payload = '', signature = ''] = good.split('.')
const byStranger = signer('ES256', stranger.privateKey)
const byEc = signer('ES256', ec.privateKey)
const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString()
const hs = { alg: 'HS256', kid: 'rsa' }
const es = { alg: 'ES256', kid: 'ec' }
const empty = (): Buffer => Buffer.alloc(0)
const claimsText = JSON.stringify(claims)

/** The last character of a signature of 64 bytes holds four bits that mean nothing. */
function sameBytes(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return text.slice(0, -1) + String(alphabet[alphabet.indexOf(text.slice(-1)) ^ 1])
}

const hostile: Readonly<Record<string, string>> = {
  'no algorithm': token({ ...es, alg: 'none' }, claims, empty),
  'no algorithm, in other letters': token({ ...es, alg: 'nOnE' }, claims, empty),
  'no algorithm, with a signature': token({ ...es, alg: 'none' }, claims, byEc),
  'an empty algorithm': token({ ...es, alg: '' }, claims, byEc),
  'a missing algorithm': token({ kid: 'ec' }, claims, byEc),
  'a list of algorithms': token({ ...es, alg: ['ES256'] }, claims, byEc),
  'an algorithm that nobody knows': token({ ...es, alg: 'ES257' }, claims, byEc),
  'a public key as a shared secret': token(hs, claims, signer('HS256', Buffer.from(pem))),
  'a public key after white space as a shared secret': token(hs, claims, signer('HS256', Buffer.from(` \n${pem}`))),
  'a public key without its last line break as a shared secret': token(
    hs,
    claims,
    signer('HS256', Buffer.from(pem.trimEnd())),
  ),
  'a public key of an elliptic curve as a shared secret': token(
    { ...es, alg: 'HS256' },
    claims,
    signer('HS256', ec.publicKey.export({ type: 'spki', format: 'der' })),
  ),
  'an empty shared secret': token({ ...hs, kid: 'hs' }, claims, signer('HS256', empty())),
  'a shared secret that is another': token({ ...hs, kid: 'hs' }, claims, signer('HS256', Buffer.alloc(32))),
  'an algorithm of another curve': token({ ...es, alg: 'ES384' }, claims, signer('ES384', ec384.privateKey)),
  'the key of another kind': token({ alg: 'RS256', kid: 'ec' }, claims, signer('RS256', rsa.privateKey)),
  'another trusted key than it names': token({ ...es, kid: 'ec384' }, claims, byEc),
  'a key of its own (jwk)': token({ alg: 'ES256', jwk: jwkOf(stranger.publicKey, 'own') }, claims, byStranger),
  'a key of its own under a trusted name (jwk)': token(
    { alg: 'ES256', jwk: jwkOf(stranger.publicKey, 'ec') },
    claims,
    byStranger,
  ),
  'a key of its own beside a trusted name (jwk)': token(
    { ...es, jwk: jwkOf(stranger.publicKey, 'ec') },
    claims,
    byStranger,
  ),
  'a place where its key is (jku)': token({ ...es, jku: 'https://evil.test/keys' }, claims, byEc),
  'a place where its certificate is (x5u)': token({ ...es, x5u: 'https://evil.test/a.pem' }, claims, byEc),
  'a certificate that it has signed itself': chained([der(own)], own),
  'a certificate of its own before a trusted one': chained([der(own), der(leaf), der(authority)], own),
  'a certificate of its own after a trusted one': chained([der(leaf), der(own)], own),
  'the authority’s own certificate, signed by another': chained([der(authority)], leaf),
  'a certificate of another authority': chained([der(otherLeaf)], otherLeaf),
  'a certificate of another authority, with that': chained([der(otherLeaf), der(otherAuthority)], otherLeaf),
  'a certificate that one which may not has issued': chained([der(byLeaf), der(leaf)], byLeaf),
  'a certificate by an authority that has ended': chained([der(byStaleBetween), der(staleBetween)], byStaleBetween),
  'a certificate whose authority is not with it': chained([der(byBetween)], byBetween),
  'a leaf in the place of an authority': chained([der(own), der(leaf)], own),
  'a certificate that has ended': chained([der(stale)], stale),
  'a certificate that has not begun': chained([der(early)], early),
  'a trusted certificate, signed by another': chained([der(leaf)], otherLeaf),
  'certificates that are no list': chained(der(leaf), leaf),
  'no certificates in a list': chained([], leaf),
  'certificates that are none': chained(['AAAA'], leaf),
  'certificates that are no text': chained([1], leaf),
  'a certificate in PEM': chained([leaf.certificate], leaf),
  'certificates without end': chained([...Array.from({ length: 5 }, () => der(own)), der(leaf)], own),
  'a chain that is none beside a trusted name': chained([der(own)], own, { kid: 'ec' }),
  'a name of no key': token({ alg: 'ES256', kid: 'other' }, claims, byEc),
  'no name of a key': token({ alg: 'ES256' }, claims, byEc),
  'a name that is a path': token({ ...hs, kid: '../../../../dev/null' }, claims, signer('HS256', empty())),
  'a name of what every object has': token({ ...es, kid: '__proto__' }, claims, byEc),
  'a name of what every object can': token({ ...es, kid: 'constructor' }, claims, byEc),
  'a name that is no text': token({ ...es, kid: ['ec'] }, claims, byEc),
  'an empty name': token({ ...es, kid: '' }, claims, byEc),
  'something that must be understood (crit)': minted({}, { crit: ['exp'], exp: 1 }),
  'nothing that must be understood (crit)': minted({}, { crit: [] }),
  'a payload that is not encoded (b64)': minted({}, { crit: ['b64'], b64: false }),
  'b64 alone': minted({}, { b64: false }),
  'a payload that is packed (zip)': minted({}, { zip: 'DEF' }),
  'an encrypted one': `${encode({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`,
  'an encrypted one whose key takes a minute (p2c)': `${encode({ alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2s: 'AA', p2c: 1e9 })}.AA.AA.AA.AA`,
  'two parts': `${header}.${payload}`,
  'two parts and a dot': `${header}.${payload}.`,
  'four parts': `${good}.${signature}`,
  'one part': header,
  'dots alone': '..',
  'a thousand dots': '.'.repeat(1000),
  'a signature of zeros': token(es, claims, () => Buffer.alloc(64)),
  'a signature in DER': token(es, claims, (data) => sign('sha256', Buffer.from(data), ec.privateKey)),
  'a signature that is too short': `${header}.${payload}.${signature.slice(0, -4)}`,
  'a signature with other bits that mean nothing': `${header}.${payload}.${sameBytes(signature)}`,
  'a signature with its padding': `${good}==`,
  'a signature with a letter that means nothing': `${header}.${payload}.${signature.slice(0, 10)}!${signature.slice(10)}`,
  'base64 of the other alphabet': `${header}.${payload}.${'+/'.repeat(43)}`,
  'other claims under the signature': `${header}.${encode({ ...claims, sub: 'admin' })}.${signature}`,
  'another header over the signature': `${encode({ ...es, typ: 'at+jwt' })}.${payload}.${signature}`,
  'signed by a stranger': token(es, claims, byStranger),
  'more than 8 KiB': minted({ jti: 'x'.repeat(9000) }),
  'a mebibyte': minted({ jti: 'x'.repeat(1024 * 1024) }),
  'claims that are a list': token(es, [claims], byEc),
  'claims that are null': token(es, 'null', byEc),
  'claims that are no JSON': token(es, `${claimsText}x`, byEc),
  'a header that is no object': token('"ES256"', claims, byEc),
  'a header that is null': token('null', claims, byEc),
  'an algorithm that is given twice': token('{"alg":"none","kid":"ec","alg":"ES256"}', claims, byEc),
  'an audience that is given twice': token(es, claimsText.replace('{', '{"aud":"other",'), byEc),
  'an end that is given twice': token(es, claimsText.replace('{', '{"exp":1,'), byEc),
  'an end that is text': minted({ exp: String(now + 300) }),
  'an end that never comes': token(es, claimsText.replace(`"exp":${now + 300}`, '"exp":1e400'), byEc),
  'an end that is null': minted({ exp: null }),
  'no end': minted({ exp: undefined }),
  'an end that is past': minted({ exp: now - 61 }),
  'a beginning that is to come': minted({ nbf: now + 61 }),
  'a beginning that is text': minted({ nbf: String(now) }),
  'another issuer': minted({ iss: 'other' }),
  'an issuer that begins like ours': minted({ iss: `${issuer}.evil` }),
  'an issuer in other letters': minted({ iss: issuer.toUpperCase() }),
  'a list of issuers': minted({ iss: [issuer] }),
  'no issuer': minted({ iss: undefined }),
  'another audience': minted({ aud: 'other' }),
  'an audience that holds ours': minted({ aud: `${service} other` }),
  'a list of other audiences': minted({ aud: ['other', `${service}.evil`] }),
  'a list in a list of audiences': minted({ aud: [[service]] }),
  'an audience that is an object': minted({ aud: { [service]: true } }),
  'an empty list of audiences': minted({ aud: [] }),
  'no audience': minted({ aud: undefined }),
  'a subject that is no text': minted({ sub: 1 }),
  'access that is text': minted({ access: 'repository:team/app:pull' }),
  'access that is an object': minted({ access: pull }),
  'access with a hole': minted({ access: [null] }),
  'access whose actions are text': minted({ access: [{ ...pull, actions: 'pull' }] }),
  'access whose actions are lists': minted({ access: [{ ...pull, actions: [['pull']] }] }),
  'access whose name is a list': minted({ access: [{ ...pull, name: ['team/app'] }] }),
}

const fitting: Readonly<Record<string, string>> = {
  'ES256, by name': good,
  ES384: token({ alg: 'ES384', kid: 'ec384' }, claims, signer('ES384', ec384.privateKey)),
  RS256: token({ alg: 'RS256', kid: 'rsa' }, claims, signer('RS256', rsa.privateKey)),
  RS512: token({ alg: 'RS512', kid: 'rsa' }, claims, signer('RS512', rsa.privateKey)),
  PS256: token({ alg: 'PS256', kid: 'rsa' }, claims, signer('PS256', rsa.privateKey)),
  EdDSA: token({ alg: 'EdDSA', kid: 'ed' }, claims, signer('EdDSA', ed.privateKey)),
  'HS256, with a secret of the configuration': token({ ...hs, kid: 'hs' }, claims, signer('HS256', secret)),
  'a certificate of the authority': chained([der(leaf)], leaf),
  'a certificate of the authority, with that': chained([der(leaf), der(authority)], leaf),
  'a certificate of an authority between': chained([der(byBetween), der(between)], byBetween),
  'a certificate of an authority between, with others in any order': chained(
    [der(byBetween), der(authority), der(own), der(between)],
    byBetween,
  ),
  'the key of a certificate in the bundle, by its thumbprint': chained(undefined, authority, {
    kid: thumbprint(new X509Certificate(authority.certificate).publicKey),
  }),
  'the key of a certificate in the bundle, by libtrust’s name': chained(undefined, authority, {
    kid: keyId(new X509Certificate(authority.certificate).publicKey),
  }),
  'a list of audiences': minted({ aud: ['other', service] }),
  'T-58: an end 59 seconds ago': minted({ exp: now - 59 }),
  'T-58: a beginning in 59 seconds': minted({ nbf: now + 59 }),
  'no beginning': minted({ nbf: undefined }),
  'every action': minted({ access: [{ ...pull, actions: ['*'] }] }),
  'a class, as plugins have it': minted({ access: [{ ...pull, class: 'plugin' }] }),
  'access to something else too': minted({ access: [{ type: 'registry', name: 'catalog', actions: null }, pull] }),
}

async function open(options: Partial<TokenOptions> = {}): Promise<TokenController> {
  await using folder = await temporaryFolder()
  const rootCertBundle = join(folder.path, 'bundle.pem')
  const jwks = join(folder.path, 'keys.json')
  await writeFile(rootCertBundle, `# ours\n${authority.certificate}`)
  await writeFile(jwks, keySet())
  return await TokenController.open({
    realm: 'https://auth.test/token',
    service,
    issuer,
    rootCertBundle,
    jwks,
    signingAlgorithms: undefined,
    autoRedirectPath: undefined,
    externalUrl: undefined,
    logger: silentLogger,
    now: () => now * 1000,
    ...options,
  })
}

const facts = { address: undefined, host: undefined }
const wanted = { type: 'repository', name: 'team/app', action: 'pull' } as const

test('an authority whose first certificate has ended is trusted by its next one, and by no ended one', async () => {
  await using folder = await temporaryFolder()
  const rootCertBundle = join(folder.path, 'bundle.pem')
  const ended = authority.again({ validFrom: -10, validTo: -5 })
  const text = chained([der(leaf)], leaf)
  for (const [bundle, isGood] of [
    [ended + authority.certificate, true],
    [authority.certificate + ended, true],
    [ended, false],
  ] as const) {
    await writeFile(rootCertBundle, bundle)
    const controller = await open({ rootCertBundle })
    const verdict = await controller.verify({ ...facts, authorization: `Bearer ${text}` }, [wanted])
    assert.equal('user' in verdict, isGood)
  }
})

test('T-84: of the hostile tokens none gets in, and none is a failure of ours', async () => {
  const controller = await open()
  assert.ok(Object.keys(hostile).length >= 60)
  for (const [behaviour, text] of Object.entries(hostile)) {
    for (const records of [[wanted], []]) {
      const verdict = await controller.verify({ ...facts, authorization: `Bearer ${text}` }, records)
      assert.ok('reason' in verdict, `${behaviour} got in`)
      assert.equal(verdict.reason === 'no token' ? 'invalid_token' : verdict.error, 'invalid_token', behaviour)
    }
  }
})

test('good tokens get in, with the name of their subject', async () => {
  const controller = await open()
  for (const [behaviour, text] of Object.entries(fitting)) {
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      const verdict = await controller.verify({ ...facts, authorization: `${scheme} ${text}` }, [wanted])
      assert.equal('user' in verdict ? verdict.user : verdict.reason, 'jane', behaviour)
    }
  }
})

test('only the algorithms that are configured count', async () => {
  const controller = await open({ signingAlgorithms: ['RS256'] })
  const verdictOf = async (text = ''): Promise<unknown> =>
    await controller.verify({ ...facts, authorization: `Bearer ${text}` }, [wanted])
  assert.equal('user' in Object(await verdictOf(fitting['RS256'])), true)
  for (const other of ['ES256, by name', 'PS256', 'RS512', 'EdDSA', 'a certificate of the authority']) {
    assert.deepEqual(await verdictOf(fitting[other]), { reason: 'ERR_JOSE_ALG_NOT_ALLOWED', error: 'invalid_token' })
  }
})

test('T-58: the clock may step while a token is in use', async () => {
  let seconds = now
  const controller = await open({ now: () => seconds * 1000 })
  const isIn = async (): Promise<boolean> =>
    'user' in (await controller.verify({ ...facts, authorization: `Bearer ${good}` }, [wanted]))
  const found: boolean[] = []
  for (const step of [0, -59, -120, 0, 359, 361, 0]) {
    seconds = now + step
    found.push(await isIn())
  }
  assert.deepEqual(found, [true, true, false, true, true, false, true])
})
