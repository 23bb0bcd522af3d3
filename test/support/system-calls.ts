// Calls of node:fs, as all modules of this process see them, in a test's hands.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

type Call = (...args: never[]) => unknown

/** Puts others in the place of calls of `node:fs`, and of `node:fs/promises`, until it is disposed. */
export function replaceCalls(
  calls: Readonly<Record<string, Call>>,
  promiseCalls: Readonly<Record<string, Call>> = {},
): Disposable {
  const undo = [replaceIn(fs, calls), replaceIn(fs.promises, promiseCalls)]
  syncBuiltinESMExports()
  return {
    [Symbol.dispose]: () => {
      for (const [object, real] of undo) Object.assign(object, real)
      syncBuiltinESMExports()
    },
  }
}

function replaceIn(object: object, calls: Readonly<Record<string, Call>>): readonly [object, object] {
  const real = Object.fromEntries(Object.entries(object).filter(([name]) => name in calls))
  Object.assign(object, calls)
  return [object, real]
}

type Done = (error: Error | null) => void

/** Puts `replacement` in the place of the system's fsync. */
export function replaceSync(replacement: (fd: number, done: Done, real: typeof fs.fsync) => void): Disposable {
  const real = fs.fsync
  return replaceCalls({ fsync: (fd: number, done: Done) => replacement(fd, done, real) })
}
