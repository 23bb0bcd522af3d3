// libtrust's «pretty» JSON Web Signature: the signatures are written into the document that they sign. Each says where
// they were cut in, so that what was signed can be had back, byte for byte:
//
//   payload  {…«formatLength» bytes…            «formatTail»}
//   document {…the same bytes…, "signatures": […]           }
import { maxManifestSize } from '../oci/manifest.ts'
import { decodeBase64url } from './base64url.ts'
import { JsonReader, type JsonObject } from './json-reader.ts'
import { SignatureError, type Signature } from './signature.ts'

/** What stops us from reading a document as a schema 1 manifest. */
export class Schema1Error extends Error {
  override readonly name = 'Schema1Error'
}

export interface Envelope {
  /** The bytes that were signed. */
  readonly payload: Buffer
  readonly signatures: readonly Signature[]
}

/** Each costs a proof; nobody signs more than once. */
const maxSignatures = 16

const read = new JsonReader(Schema1Error)

/**
 * Takes the signatures out of a document. Proves none of them: `verifySignatures` does.
 * @throws Schema1Error where it is not such a document
 * @throws SignatureError where it has no signatures
 */
export function parseEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length > maxManifestSize) throw new Schema1Error(`the manifest is larger than ${maxManifestSize} bytes`)
  const document = read.parse(bytes, 'the manifest')
  if (document['schemaVersion'] !== 1) throw new Schema1Error('schemaVersion is not 1')
  const entries = read.list(document['signatures'], 'signatures')
  const [first, ...others] = entries.slice(0, maxSignatures + 1).map(parseSignature)
  if (first === undefined) throw new SignatureError('the manifest has no signature')
  if (entries.length > maxSignatures) throw new Schema1Error(`more than ${maxSignatures} signatures`)

  const format = parseFormat(first)
  for (const other of others.map(parseFormat)) {
    if (other.length !== format.length || !other.tail.equals(format.tail)) {
      throw new Schema1Error('the signatures are not of the same payload')
    }
  }
  if (format.length > bytes.length) throw new Schema1Error('formatLength is more than the manifest has')
  return {
    payload: Buffer.concat([bytes.subarray(0, format.length), format.tail]),
    signatures: [first, ...others],
  }
}

function parseSignature(value: unknown, index: number): Signature {
  const where = `signatures[${index}]`
  const entry = read.object(value, where)
  const header = read.object(entry['header'], `${where}.header`)
  const jwk = header['jwk'] ?? undefined
  return {
    algorithm: read.text(header['alg'], `${where}.header.alg`),
    signature: read.text(entry['signature'], `${where}.signature`),
    protectedHeader: read.text(entry['protected'], `${where}.protected`),
    jwk: jwk === undefined ? undefined : read.object(jwk, `${where}.header.jwk`),
    x5c: read.list(header['x5c'], `${where}.header.x5c`).map((item) => read.text(item, `${where}.header.x5c`)),
  }
}

/** How much of the document belongs to the payload, in bytes, and what follows there in place of the signatures. */
function parseFormat({ protectedHeader }: Signature): { readonly length: number; readonly tail: Buffer } {
  const decoded = decodeBase64url(protectedHeader)
  if (decoded === undefined) throw new Schema1Error('a protected header is not base64url')
  const header: JsonObject = read.parse(decoded, 'a protected header')
  const { formatLength, formatTail } = header
  if (typeof formatLength !== 'number' || !Number.isSafeInteger(formatLength) || formatLength <= 0) {
    throw new Schema1Error('formatLength is not a number of bytes')
  }
  const tail = typeof formatTail === 'string' ? decodeBase64url(formatTail) : undefined
  if (tail === undefined) throw new Schema1Error('formatTail is not base64url')
  return { length: formatLength, tail }
}
