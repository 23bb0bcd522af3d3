// Layers that clients can unpack, as large as one likes: an archive of one file, whose bytes are made when they are read.
import { randomBytes } from 'node:crypto'
import { objectOf, pieceEnd, seeded, type StoredObject } from './objects.ts'

const blockSize = 512

/** POSIX ustar: a head, the file, zeros up to a block, and two blocks of zeros. */
export function archiveOf(name: string, size: number, seed: Uint8Array = randomBytes(16)): StoredObject {
  const head = headOf(name, size)
  const file = seeded(seed)
  const behind = head.length + size
  const whole = Math.ceil(behind / blockSize) * blockSize + 2 * blockSize
  const read = (start: number, end: number): Buffer => {
    const parts = [head.subarray(start, end)]
    const last = Math.min(end, behind)
    for (let at = Math.max(start, head.length); at < last;) {
      const from = at - head.length
      const to = pieceEnd(from, last - head.length)
      parts.push(file(from, to))
      at = head.length + to
    }
    parts.push(Buffer.alloc(Math.max(0, end - Math.max(start, behind))))
    return Buffer.concat(parts)
  }
  return objectOf(whole, read)
}

function headOf(name: string, size: number): Buffer {
  const head = Buffer.alloc(blockSize)
  const put = (at: number, text: string): void => void head.write(text, at, 'latin1')
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`
  put(0, name)
  put(100, octal(0o644, 7))
  put(108, octal(0, 7))
  put(116, octal(0, 7))
  put(124, octal(size, 11))
  put(136, octal(0, 11))
  put(148, ' '.repeat(8)) // what the sum is made with
  put(156, '0')
  put(257, 'ustar\u000000')
  const sum = head.reduce((total, byte) => total + byte, 0)
  put(148, `${octal(sum, 6)} `)
  return head
}
