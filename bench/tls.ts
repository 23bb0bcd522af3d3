// What TLS needs: an authority that clients trust, and a certificate of this machine that all servers show.
import { makeAuthority } from '../test/support/certificates.ts'
import type { Folder } from '../test/support/real-parts.ts'
import type { CertificateFiles } from '../test/support/outside/mirrors.ts'

/** Paths of files in PEM. */
export interface TlsFiles extends CertificateFiles {
  readonly authority: string
}

export async function makeTls(folder: Folder): Promise<TlsFiles> {
  const authority = makeAuthority()
  const { certificate, key } = authority.issue({ names: ['127.0.0.1', 'localhost'] })
  return {
    authority: await folder.write('authority.pem', authority.certificate),
    certificate: await folder.write('server.pem', certificate),
    key: await folder.write('server.key', key),
  }
}
