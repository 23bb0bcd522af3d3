// What the machine can do: nginx with files in place of the registry's answers, under the same paths.
import { mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pieceEnd, seeded } from '../test/support/outside/objects.ts'
import type { CertificateFiles } from '../test/support/outside/mirrors.ts'
import { freePort, isListening, startProcess, until, type Folder, type Running } from '../test/support/real-parts.ts'
import type { Body } from './client.ts'

export async function nginxName(): Promise<string> {
  await using nginx = await startProcess('nginx', ['-v'])
  await nginx.ended()
  return `nginx ${/\d+\.\d+\.\d+/.exec(nginx.output())?.[0] ?? ''}`
}

/** Serves what is below `www` of the folder. */
export async function startNginx(
  folder: Folder,
  tls: CertificateFiles | undefined,
): Promise<{ url: string; process: Running }> {
  const port = await freePort()
  const path = (name: string): string => join(folder.path, name)
  await mkdir(path('nginx'), { recursive: true })
  const file = await folder.write(
    'nginx.conf',
    `${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
pid ${path('nginx/pid')};
error_log stderr;
worker_processes auto;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log ${path('nginx/access.log')};
  client_body_temp_path ${path('nginx/body')};
  proxy_temp_path ${path('nginx/proxy')};
  fastcgi_temp_path ${path('nginx/fastcgi')};
  uwsgi_temp_path ${path('nginx/uwsgi')};
  scgi_temp_path ${path('nginx/scgi')};
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  open_file_cache max=1000 inactive=1h;
  open_file_cache_valid 1h;
  default_type application/octet-stream;
  server {
    listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'} backlog=4096;
    root ${path('www')};
    ${tls === undefined ? '' : tlsSection(tls)}
  }
}
`,
  )
  const running = await startProcess('nginx', ['-e', 'stderr', '-p', path('nginx'), '-c', file], {
    log: path('nginx.log'),
  })
  await until('nginx', async () => await isListening(port))
  return { url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, process: running }
}

/** The versions that the others speak; before 1.23.4 it would not speak 1.3 of itself. */
function tlsSection({ certificate, key }: CertificateFiles): string {
  return `ssl_certificate ${certificate}; ssl_certificate_key ${key}; ssl_protocols TLSv1.2 TLSv1.3;`
}

/** Puts a body where nginx serves it under `path`. */
export async function putFile(folder: Folder, path: string, body: Body): Promise<void> {
  const name = join(folder.path, 'www', path)
  await mkdir(dirname(name), { recursive: true })
  await using file = await open(name, 'w')
  if ('text' in body) {
    await file.write(body.text)
    return
  }
  const read = seeded(Buffer.from(body.seed, 'hex'))
  for (let at = 0; at < body.size; at = pieceEnd(at, body.size)) {
    await file.write(Buffer.from(read(at, pieceEnd(at, body.size))))
  }
}
