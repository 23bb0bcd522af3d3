// The last so many of something, in this process alone.
import { LRUCache } from 'lru-cache'

/**
 * Holds at most so many; the least used one goes first. Told to hold a number, lru-cache makes room for all of them at
 * once, which is a good part of a start and megabytes of an idle server: where each has a size of one, room is taken as
 * they come.
 */
export function recent<K extends {}, V extends {}>(
  most: number,
  options?: Pick<LRUCache.OptionsBase<K, V, unknown>, 'dispose'>,
): LRUCache<K, V> {
  return new LRUCache<K, V>({ ...options, maxSize: most, sizeCalculation: () => 1 })
}
