// What runs when no file is given: one mirror for the registries most images come from, into ./data. Plain data, read
// by the same schema as a file.
import type { Tree } from './tree.ts'

export function defaultMirror(): Tree {
  return {
    version: '0.1',
    storage: { filesystem: { rootdirectory: './data' } },
    proxy: {
      upstreams: {
        'docker.io': { url: 'https://registry-1.docker.io', default: 'true' },
        'ghcr.io': { url: 'https://ghcr.io' },
        'quay.io': { url: 'https://quay.io' },
        'registry.k8s.io': { url: 'https://registry.k8s.io' },
        'gcr.io': { url: 'https://gcr.io' },
        'mcr.microsoft.com': { url: 'https://mcr.microsoft.com' },
        'public.ecr.aws': { url: 'https://public.ecr.aws' },
        'nvcr.io': { url: 'https://nvcr.io' },
      },
    },
  }
}
