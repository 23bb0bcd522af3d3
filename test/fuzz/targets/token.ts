// Tokens of clients, Bearer and Basic: src/auth/token.ts, src/auth/basic.ts. Two lines are a header and a payload, which are
// signed here as the token server would: what is behind the signature is looked at, too.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseBasic } from '../../../src/auth/basic.ts'
import { TokenController } from '../../../src/auth/token.ts'
import { silentLogger } from '../../../src/telemetry/logger.ts'
import { claims, ec, issuer, keySet, now, service, signer, token } from '../../auth/tokens.ts'
import type { Target } from '../fuzzer.ts'

const header = { alg: 'ES256', typ: 'JWT', kid: 'ec' }
const sign = signer('ES256', ec.privateKey)
const good = token(header, claims, sign)
const asked = [{ type: 'repository', name: 'team/app', action: 'pull' }] as const

async function open(): Promise<TokenController> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-fuzz-'))
  try {
    const jwks = join(folder, 'keys.json')
    writeFileSync(jwks, keySet())
    const realm = 'https://auth.example/token'
    return await TokenController.open({
      realm,
      service,
      issuer,
      jwks,
      rootCertBundle: undefined,
      signingAlgorithms: undefined,
      autoRedirectPath: undefined,
      externalUrl: undefined,
      now: () => now * 1000,
      logger: silentLogger,
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const controller = await open()

export const target: Target = {
  seeds: [
    `Bearer ${good}`,
    `${JSON.stringify(header)}\n${JSON.stringify(claims)}`,
    `${JSON.stringify(header)}\n${JSON.stringify({ ...claims, aud: [service], nbf: null, access: [] })}`,
    'Basic YTpi',
  ],
  words: [
    'Bearer ',
    'Basic ',
    '.',
    '=',
    '"none"',
    '"HS256"',
    '"jwk":{}',
    '"crit":[]',
    '"exp":',
    'null',
    '1e400',
    '[]',
    '{}',
    '*',
  ],
  async check(input) {
    const end = input.indexOf('\n')
    const made = end < 0 ? input : `Bearer ${token(input.slice(0, end), input.slice(end + 1), sign)}`
    const verdict = await controller.verify({ authorization: made, host: undefined, address: '' }, asked)
    if ('reason' in verdict) assert.match(verdict.reason, /^[\w’ .]+$/)
    else if (end < 0) assert.equal(made.split(/ +/)[1], good)
    else checkClaims(input.slice(end + 1))
    const basic = parseBasic(input)
    if (basic !== undefined && !basic.user.includes('\ufffd')) {
      const text = Buffer.concat([Buffer.from(`${basic.user}:`), basic.password]).toString('base64')
      assert.deepEqual(parseBasic(`Basic ${text}`), basic)
    }
  },
}

function checkClaims(payload: string): void {
  const { iss, aud, exp, nbf = now } = JSON.parse(payload) as Record<string, unknown>
  assert.equal(iss, issuer)
  assert.ok([aud].flat().includes(service))
  assert.ok(Number(exp) > now - 61 && Number(nbf) < now + 61)
}
