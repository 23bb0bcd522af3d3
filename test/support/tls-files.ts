import { TlsFiles } from '../../src/http/tls-files.ts'
import { silentLogger } from '../../src/telemetry/logger.ts'
import { selfSigned } from './certificates.ts'
import { temporaryFolder } from './real-parts.ts'

/** What a listener speaks TLS with that nobody has reason to trust. */
export async function selfSignedTls(): Promise<TlsFiles> {
  await using folder = await temporaryFolder()
  const { certificate, key } = selfSigned()
  return await TlsFiles.open({
    identity: { certificate: await folder.write('a.pem', certificate), key: await folder.write('a.key', key) },
    clientAuthorities: [],
    clientAuth: 'require-and-verify-client-cert',
    minimumVersion: 'TLSv1.2',
    logger: silentLogger,
  })
}
