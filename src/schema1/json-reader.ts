// Untyped JSON behind one door: what is not of the expected shape is refused with the error of whoever asks.

export type JsonObject = Readonly<Record<string, unknown>>

export class JsonReader {
  readonly #Refusal: new (message: string, options?: ErrorOptions) => Error

  constructor(refusal: new (message: string, options?: ErrorOptions) => Error) {
    this.#Refusal = refusal
  }

  /** Of a key that is given twice the last one counts, as it does for Go. */
  parse(bytes: Uint8Array, where: string): JsonObject {
    let value: unknown
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
    } catch (cause) {
      throw new this.#Refusal(`${where} is not JSON`, { cause })
    }
    return this.object(value, where)
  }

  object(value: unknown, where: string): JsonObject {
    if (!isObject(value)) throw new this.#Refusal(`${where} is not a JSON object`)
    return value
  }

  /** None and `null` are the empty list, as they are for Go. */
  list(value: unknown, where: string): readonly unknown[] {
    if (value === undefined || value === null) return []
    if (!Array.isArray(value)) throw new this.#Refusal(`${where} is not a list`)
    return value
  }

  /** None and `null` are the empty text, as they are for Go. */
  text(value: unknown, where: string): string {
    if (value === undefined || value === null) return ''
    if (typeof value !== 'string') throw new this.#Refusal(`${where} is not a text`)
    return value
  }

  flag(value: unknown, where: string): boolean {
    if (value === undefined || value === null) return false
    if (typeof value !== 'boolean') throw new this.#Refusal(`${where} is neither true nor false`)
    return value
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
