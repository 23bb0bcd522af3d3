import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TlsFiles } from '../../src/http/tls-files.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { temporaryFolder } from './app-under-test.ts'
import { selfSigned } from './certificates.ts'

/** What a listener speaks TLS with that nobody has reason to trust. */
export async function selfSignedTls(): Promise<TlsFiles> {
  await using folder = await temporaryFolder()
  const { certificate, key } = selfSigned()
  const identity = { certificate: join(folder.path, 'a.pem'), key: join(folder.path, 'a.key') }
  await writeFile(identity.certificate, certificate)
  await writeFile(identity.key, key)
  return await TlsFiles.open({
    identity,
    clientAuthorities: [],
    clientAuth: 'require-and-verify-client-cert',
    minimumVersion: 'TLSv1.2',
    logger: silentLogger,
  })
}
