// Schema 1 manifests: what a document says, and what of it is kept. The payload without its signatures is what is stored
// and what the digest is of; whoever serves it signs it afresh.
import { digestOf, isDigest, type Digest } from '../oci/digest.ts'
import { maxManifestSize } from '../oci/manifest.ts'
import { isRepositoryName } from '../oci/reference.ts'
import { parseEnvelope, Schema1Error } from './envelope.ts'
import { JsonReader } from './json-reader.ts'
import { verifySignatures, type Signature } from './signature.ts'

export interface Schema1Manifest {
  /** The canonical bytes: the document without its signatures. */
  readonly payload: Buffer
  /** Of the payload, not of the document that came. */
  readonly digest: Digest
  readonly name: string
  readonly tag: string
  readonly architecture: string
  /** The top layer first, as in the document; a layer that occurs twice is named twice. */
  readonly layers: readonly Digest[]
  /** A `v1Compatibility` text for each of the layers. */
  readonly history: readonly string[]
}

export interface SignedManifest extends Schema1Manifest {
  /** Each of them is proved. */
  readonly signatures: readonly Signature[]
}

const read = new JsonReader(Schema1Error)

/**
 * Reads a signed manifest, from a client or from an upstream, and proves its signatures.
 * @throws Schema1Error where it is not a schema 1 manifest
 * @throws SignatureError where it is one, but a signature is missing or wrong
 */
export function parseSignedManifest(bytes: Uint8Array): SignedManifest {
  const { payload, signatures } = parseEnvelope(bytes)
  const manifest = parseCanonicalManifest(payload)
  if (!isRepositoryName(manifest.name)) throw new Schema1Error('name is not a repository name')
  verifySignatures(payload, signatures)
  return { ...manifest, signatures }
}

/**
 * Reads a payload from our own storage. Its name may be any text: other registries that wrote there ask less of it.
 * @throws Schema1Error
 */
export function parseCanonicalManifest(payload: Uint8Array): Schema1Manifest {
  if (payload.length > maxManifestSize) throw new Schema1Error(`the manifest is larger than ${maxManifestSize} bytes`)
  const document = read.parse(payload, 'the manifest')
  if (document['schemaVersion'] !== 1) throw new Schema1Error('schemaVersion is not 1')
  // A document with two lists of signatures would have two readings once it is signed again.
  if (document['signatures'] !== undefined) throw new Schema1Error('the payload holds signatures')
  const layers = read.list(document['fsLayers'], 'fsLayers').map(parseLayer)
  const history = read.list(document['history'], 'history').map(parseHistory)
  if (layers.length !== history.length) throw new Schema1Error('fsLayers and history differ in length')
  return {
    payload: Buffer.from(payload),
    digest: digestOf(payload),
    name: read.text(document['name'], 'name'),
    tag: read.text(document['tag'], 'tag'),
    architecture: read.text(document['architecture'], 'architecture'),
    layers,
    history,
  }
}

function parseLayer(value: unknown, index: number): Digest {
  const blobSum = read.text(read.object(value, `fsLayers[${index}]`)['blobSum'], `fsLayers[${index}].blobSum`)
  if (!isDigest(blobSum)) throw new Schema1Error(`fsLayers[${index}].blobSum is not a digest`)
  return blobSum
}

function parseHistory(value: unknown, index: number): string {
  const where = `history[${index}]`
  return read.text(read.object(value, where)['v1Compatibility'], `${where}.v1Compatibility`)
}
