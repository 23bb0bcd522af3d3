// A real nginx in front of somebody, as a process of its own.
import type { Certified } from './certificates.ts'
import { freePort, isListening, startProcess, until, type Folder } from './real-parts.ts'

export interface Nginx extends AsyncDisposable {
  /** Of host and port. */
  readonly host: string
}

export interface NginxOptions {
  /** Host and port of a server, to which it keeps connections. */
  readonly upstream: string
  /** Added to what it does with each request. */
  readonly location: string
  /** Plain HTTP without. */
  readonly tls?: Certified | undefined
}

/** Gives up a second after a client has stopped to say anything. */
export async function startNginx(folder: Folder, { upstream, location, tls }: NginxOptions): Promise<Nginx> {
  const port = await freePort()
  const secured =
    tls === undefined
      ? ''
      : `ssl_certificate ${await folder.write('nginx.pem', tls.certificate)};
    ssl_certificate_key ${await folder.write('nginx.key', tls.key)};`
  const config = await folder.write(
    'nginx.conf',
    `daemon off;
master_process off;
pid ${folder.path}/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${folder.path};
  proxy_temp_path ${folder.path};
  fastcgi_temp_path ${folder.path};
  uwsgi_temp_path ${folder.path};
  scgi_temp_path ${folder.path};
  client_header_timeout 1s;
  client_body_timeout 1s;
  keepalive_timeout 1s;
  upstream registry { server ${upstream}; keepalive 16; }
  server {
    listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'};
    ${secured}
    location / {
      proxy_pass http://registry;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      ${location}
    }
  }
}
`,
  )
  const process = await startProcess('nginx', ['-e', 'stderr', '-c', config])
  await until('nginx listens', async () => await isListening(port)) // it does not say so
  return { host: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => await process[Symbol.asyncDispose]() }
}
