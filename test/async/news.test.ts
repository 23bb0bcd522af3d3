import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import { News } from '../../src/async/news.ts'

test('all who wait hear of it, and none who comes later', async () => {
  const news = new News()
  let heard = 0
  const wait = async (): Promise<void> => {
    await news.next()
    heard++
  }
  const both = Promise.all([wait(), wait()])
  news.tell()
  const later = wait()
  await both
  assert.equal(heard, 2)
  news.tell()
  await later
})

test('what is told soon is told once, however often, and anew after that', async () => {
  const news = new News()
  for (let round = 0; round < 2; round++) {
    let heard = 0
    const listen = async (): Promise<void> => {
      while (heard < 2) {
        await news.next()
        heard++
      }
    }
    const listening = listen()
    for (let time = 0; time < 5; time++) {
      news.tellSoon()
      await Promise.resolve()
    }
    assert.equal(heard, 0, 'not yet')
    await turn()
    assert.equal(heard, 1)
    news.tell()
    await listening
  }
})
