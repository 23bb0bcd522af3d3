// Whether credentials reach a host that they are not for.
import type { Fault } from '../support/outside/faults.ts'
import { Stage, type Findings } from './stage.ts'

const credentials = { username: 'alice', password: 'canary-s3cret' }
/** In every form in which they could arrive. The token is the origin's own, for whoever has the password. */
const canaries: readonly string[] = [
  credentials.password,
  Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64').replace(/=+$/, ''),
  'canary-token',
]

const traps: Readonly<Record<string, readonly Fault[]>> = {
  'a token server elsewhere': [{ do: 'challenge', scheme: 'Bearer', realm: 'foreign' }],
  'a redirect elsewhere, with a password': [
    { do: 'challenge', scheme: 'Basic', realm: 'own' },
    { do: 'redirect', to: 'foreign' },
  ],
  'a redirect elsewhere, with a token': [
    { do: 'challenge', scheme: 'Bearer', realm: 'own' },
    { do: 'redirect', to: 'foreign' },
  ],
}

export async function secrets(findings: Findings): Promise<void> {
  const caught: string[] = []
  let visits = 0
  for (const [name, [first, second]] of Object.entries(traps)) {
    await using stage = await Stage.prepare(findings, { credentials })
    const { origin } = stage
    const image = await origin.addImage('app', 'v1', [4096, 1024 * 1024])
    if (first !== undefined) await origin.fault(first) // from the first ping on
    await stage.start()
    if (second === undefined) await stage.pullImage(image)
    else {
      const [config, layer] = image.blobs
      if (config !== undefined) await stage.pullBlob('app', config.digest) // there is a token, or a password, now
      await origin.rules(
        { path: '/blobs/', fault: second },
        ...(first === undefined ? [] : [{ path: '', fault: first }]),
      )
      if (layer !== undefined) await stage.pullBlob('app', layer.digest)
    }
    const received = await origin.foreign()
    visits += received.split('HTTP/1.1').length - 1
    if (canaries.some((canary) => received.includes(canary))) caught.push(name)
  }
  const where = caught.length === 0 ? '' : `: ${caught.join('; ')}`
  findings.note(
    'secrets',
    `${caught.length} of ${Object.keys(traps).length} traps${where} (${visits} requests there)`,
    caught.length === 0,
  )
}
