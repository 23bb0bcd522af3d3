// Symbolic links that lead in a circle: whoever walks a tree would meet all of it again and again.
import { lstatSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Whether a folder that was just read is a link back to one that it lies in, `root` being the last of them. */
export async function leadsBack(folder: string, root: string): Promise<boolean> {
  if (folder === root || !lstatSync(folder).isSymbolicLink()) return false // no wait: it is in memory, as it was just read
  const target = await realpath(folder)
  for (let path = dirname(folder); ; path = dirname(path)) {
    if ((await realpath(path)) === target) return true // as it was come to: maybe through another link
    if (path === root) return false
  }
}
