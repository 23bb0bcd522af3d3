import { readdirSync, readlinkSync } from 'node:fs'

/** How many of our files in memory this process has open. Linux only. */
export function openMemoryFiles(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('/memfd:entrepot')
    } catch {
      return false // that of the folder itself is closed again
    }
  }).length
}
