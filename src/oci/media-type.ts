// The media types of manifests and of what they name, in one place.

export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  ociArtifactManifest: 'application/vnd.oci.artifact.manifest.v1+json',
  dockerImageConfig: 'application/vnd.docker.container.image.v1+json',
  dockerPluginConfig: 'application/vnd.docker.plugin.v1+json',
  ociImageConfig: 'application/vnd.oci.image.config.v1+json',
  octetStream: 'application/octet-stream',
} as const

const manifestTypes: ReadonlySet<string> = new Set([
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerManifestList,
  mediaTypes.dockerSchema1,
  mediaTypes.dockerSchema1Signed,
  mediaTypes.ociArtifactManifest,
])

/** Whether content of this type is read under `/manifests/`. */
export function isManifestType(mediaType: string): boolean {
  return manifestTypes.has(mediaType)
}

export function isIndexType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerManifestList
}

export function isImageType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociManifest || mediaType === mediaTypes.dockerManifest
}

/** Whether a layer's bytes may live elsewhere: Windows base layers, and OCI's non-distributable ones. */
export function isForeignLayer(mediaType: string): boolean {
  return /^application\/vnd\.(?:docker\.image\.rootfs\.foreign|oci\.image\.layer\.nondistributable)\./.test(mediaType)
}

/** Whether it is of an image: where it has URLs, some clients fetch it from there, and not only what `isForeignLayer`. */
export function isImagePart(mediaType: string): boolean {
  return /^application\/vnd\.(?:docker|oci)\./.test(mediaType)
}

/** A media type without its parameters, in lower case: `Text/HTML; charset=utf-8` → `text/html`. */
export function bareMediaType(contentType: string): string {
  const semicolon = contentType.indexOf(';')
  return (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase()
}
