// Docker Hub is the one registry with several names, all of which users write.

/** The first is how it is called. */
export const dockerHubNames: readonly string[] = [
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
]

const names: ReadonlySet<string> = new Set(dockerHubNames)

/** @param host in lower case */
export function isDockerHubName(host: string): boolean {
  return names.has(host)
}
