import assert from 'node:assert/strict'
import { parseRoute, type Route } from '../../src/api/route.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { randomDigest, randomName, randomTag, strange } from '../support/random-names.ts'
import { mutated, property, type Random } from '../support/seeded.ts'

type RepositoryRoute = Exclude<Route, { kind: 'root' | 'base' | 'catalog' }>

function randomRoute(random: Random): RepositoryRoute {
  const name = randomName(random)
  switch (random.pick(['tags', 'manifest', 'referrers', 'blob', 'uploads', 'upload'])) {
    case 'tags':
      return { kind: 'tags', name }
    case 'manifest':
      return random.oneIn(2)
        ? { kind: 'manifest', name, reference: { kind: 'tag', tag: randomTag(random) } }
        : { kind: 'manifest', name, reference: { kind: 'digest', digest: randomDigest(random) } }
    case 'referrers':
      return { kind: 'referrers', name, digest: randomDigest(random) }
    case 'blob':
      return { kind: 'blob', name, digest: randomDigest(random) }
    case 'uploads':
      return { kind: 'uploads', name }
    case 'upload':
      return { kind: 'upload', name, id: random.text(strange.replace('/', ''), 1, 40) }
  }
}

function render(route: RepositoryRoute): string {
  switch (route.kind) {
    case 'tags':
      return `/v2/${route.name}/tags/list`
    case 'manifest': {
      const { reference } = route
      return `/v2/${route.name}/manifests/${reference.kind === 'tag' ? reference.tag : reference.digest}`
    }
    case 'referrers':
      return `/v2/${route.name}/referrers/${route.digest}`
    case 'blob':
      return `/v2/${route.name}/blobs/${route.digest}`
    case 'uploads':
      return `/v2/${route.name}/blobs/uploads/`
    case 'upload':
      return `/v2/${route.name}/blobs/uploads/${route.id}`
  }
}

property('a path says which resource it was made for, whatever the components of the name are', (random) => {
  const route = randomRoute(random)
  assert.deepEqual(parseRoute(render(route), '/'), route)
  assert.deepEqual(parseRoute(`/a/b${render(route)}`, '/a/b/'), route)
})

property('a path is a resource, or it is refused with an error for the client', (random) => {
  let path = render(randomRoute(random))
  for (let changes = random.int(4); changes >= 0; changes--) path = mutated(random, path, `${strange}/////`)
  if (random.oneIn(10)) path = random.text(`/v2._${strange}`, 0, 60)
  try {
    const route = parseRoute(path, '/')
    // No two paths mean one resource, but for the slash that uploads may do without.
    if ('name' in route) assert.equal(path.replace(/\/uploads$/, '/uploads/'), render(route))
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    assert.match(error.code, /^(?:ROUTE_UNKNOWN|NAME_INVALID|TAG_INVALID|DIGEST_INVALID)$/)
  }
})
