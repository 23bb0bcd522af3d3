// A set of very many digests in little memory.
import { randomBytes } from 'node:crypto'
import { hexOf, type Digest } from '../../oci/digest.ts'

/**
 * Keeps 8 bytes of each digest, and so may take one digest for another: with a hundred million of them that happens about
 * once in two thousand sets. Whoever asks must be content with `has` being true too often.
 */
export class DigestSet {
  #slots = new BigUint64Array(1024)
  #size = 0
  /** Odd, so that no two keys become one; random, as whoever pushes may choose digests that would meet in one place. */
  readonly #factor = randomBytes(8).readBigUInt64LE() | 1n

  get size(): number {
    return this.#size
  }

  add(digest: Digest): void {
    if (this.#size * 2 >= this.#slots.length) this.#grow()
    if (put(this.#slots, this.#keyOf(digest))) this.#size++
  }

  has(digest: Digest): boolean {
    const key = this.#keyOf(digest)
    return this.#slots[slotOf(this.#slots, key)] === key
  }

  #grow(): void {
    const slots = new BigUint64Array(this.#slots.length * 2)
    for (const key of this.#slots) if (key !== 0n) put(slots, key)
    this.#slots = slots
  }

  /** Never 0, which is an empty slot. */
  #keyOf(digest: Digest): bigint {
    return BigInt.asUintN(64, BigInt(`0x${hexOf(digest).slice(0, 16)}`) * this.#factor) || 1n
  }
}

/** Where the key is, or would be. The length of `slots` is a power of two, and some are empty. */
function slotOf(slots: BigUint64Array, key: bigint): number {
  const bits = 31 - Math.clz32(slots.length)
  let at = Number(key >> BigInt(64 - bits)) // a product is mixed best in its upper bits
  while (slots[at] !== 0n && slots[at] !== key) at = (at + 1) % slots.length
  return at
}

function put(slots: BigUint64Array, key: bigint): boolean {
  const at = slotOf(slots, key)
  if (slots[at] === key) return false
  slots[at] = key
  return true
}
