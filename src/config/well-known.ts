// What everyone knows of some registries, so that nobody has to configure it.
import { isDockerHubName } from '../oci/docker-hub.ts'

export function isDockerHub(name: string | undefined, url: URL): boolean {
  return name === 'docker.io' || isDockerHubName(url.host)
}

/** Host of a registry → its token server, where that is another host. */
const realms: Readonly<Record<string, string>> = {
  'registry-1.docker.io': 'https://auth.docker.io',
  'registry.gitlab.com': 'https://gitlab.com',
}

export function findRealm(url: URL): URL | undefined {
  const realm = Object.hasOwn(realms, url.host) ? realms[url.host] : undefined
  return realm === undefined ? undefined : new URL(realm)
}
