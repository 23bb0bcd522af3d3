// Sizes: `KiB`, `MiB`, `GiB`, `TiB` count in 1024; `k`, `kB`, `MB`, `GB`, `TB` in 1000; a plain number is bytes.
import { ConfigError } from './config-error.ts'

const powers: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4, p: 5 }

/**
 * @returns whole bytes
 * @throws ConfigError
 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?$/i.exec(text)
  const [, amount, prefix = '', binary = ''] = match ?? []
  const bytes = Math.round(Number(amount) * (binary === '' ? 1000 : 1024) ** (powers[prefix.toLowerCase()] ?? 0))
  if (match === null || (binary !== '' && prefix === '') || !Number.isSafeInteger(bytes)) {
    throw new ConfigError(`not a size: ${JSON.stringify(text.slice(0, 40))}; 64MiB, 10GB, 512k and 1024 are`)
  }
  return bytes
}
