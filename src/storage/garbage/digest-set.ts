// A set of very many digests in little memory.
import { hexOf, type Digest } from '../../oci/digest.ts'

/**
 * Keeps 8 bytes of each digest, and so may take one digest for another: with a hundred million of them that happens about
 * once in two thousand sets. Whoever asks must be content with `has` being true too often.
 */
export class DigestSet {
  #slots = new BigUint64Array(1024)
  #size = 0

  get size(): number {
    return this.#size
  }

  add(digest: Digest): void {
    if (this.#size * 2 >= this.#slots.length) this.#grow()
    if (put(this.#slots, keyOf(digest))) this.#size++
  }

  has(digest: Digest): boolean {
    const key = keyOf(digest)
    return this.#slots[slotOf(this.#slots, key)] === key
  }

  #grow(): void {
    const slots = new BigUint64Array(this.#slots.length * 2)
    for (const key of this.#slots) if (key !== 0n) put(slots, key)
    this.#slots = slots
  }
}

/** Never 0, which is an empty slot. */
function keyOf(digest: Digest): bigint {
  return BigInt(`0x${hexOf(digest).slice(0, 16)}`) || 1n
}

/** Where the key is, or would be. The length of `slots` is a power of two, and some are empty. */
function slotOf(slots: BigUint64Array, key: bigint): number {
  const mask = slots.length - 1
  let at = Number(key & 0xffff_ffffn) & mask
  while (slots[at] !== 0n && slots[at] !== key) at = (at + 1) & mask
  return at
}

function put(slots: BigUint64Array, key: bigint): boolean {
  const at = slotOf(slots, key)
  if (slots[at] === key) return false
  slots[at] = key
  return true
}
