// What everyone knows of some registries, so that nobody has to configure it.
import { isDockerHubName } from '../oci/docker-hub.ts'

export function isDockerHub(name: string | undefined, url: URL): boolean {
  return name === 'docker.io' || isDockerHubName(url.host)
}

/** Where a registry answers that people know by this URL: at `docker.io` there is a web site. */
export function dialledUrl(url: URL): URL {
  return url.host === 'docker.io' ? new URL(`${url.protocol}//registry-1.docker.io${url.pathname}`) : url
}

/** The token server of a registry, where that is another host. */
export function findRealm({ host }: URL): URL | undefined {
  if (isDockerHubName(host)) return new URL('https://auth.docker.io')
  return host === 'registry.gitlab.com' ? new URL('https://gitlab.com') : undefined
}
