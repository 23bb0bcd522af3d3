// malloc_trim(3) of the GNU C library, which Node has no call for. What is freed in the middle of its memory stays with the
// process otherwise: of a thousand connections with TLS that have come and gone, 120 MiB and more.

/** Gives back what is free. */
export type MallocTrim = () => void

/** @throws where the C library has no such call, or there is no way to it on this processor */
export async function loadMallocTrim(): Promise<MallocTrim> {
  if (process.platform !== 'linux') throw new Error('malloc_trim is asked of Linux only')
  const { default: koffi } = await import('koffi')
  const trim = koffi.load(null).func('int malloc_trim(size_t pad)')
  return () => void trim(0)
}
