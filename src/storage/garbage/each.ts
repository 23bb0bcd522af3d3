// Many small tasks on a driver, some at once.
import type { LimitFunction } from 'p-limit'

/** Resolves or rejects when every task has ended: nothing goes on behind the back of whoever cleans up after a failure. */
export async function each<In, Out>(
  items: Iterable<In>,
  limit: LimitFunction,
  task: (item: In) => Promise<Out>,
): Promise<Out[]> {
  const running = Array.from(items, async (item) => await limit(task, item))
  await Promise.allSettled(running)
  return await Promise.all(running)
}
