// Tags: fresh, ageing, stale, and what an operator wants where an upstream has lost one or refuses it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startOrigin } from '../support/origin.ts'
import { startProxyUnderTest } from '../support/proxy-under-test.ts'

const minute = 60_000

test('a tag has the freshness of the first rule that matches it, else that of its upstream', async () => {
  await using origin = await startOrigin()
  for (const tag of ['v1', 'v1-rc', 'latest']) await origin.addImage('app', tag, [])
  const tags = [
    { match: /-rc$/u, freshness: 0 },
    { match: /^v\d/u, freshness: 60 * minute },
  ]
  await using app = await startProxyUnderTest(origin, { upstream: { freshness: 5 * minute, tags } })
  const heads = async (): Promise<string[]> => {
    origin.seen.length = 0
    for (const tag of ['v1', 'v1-rc', 'latest']) await pull(`${app.url}/v2/app/manifests/${tag}`)
    return origin.seen.map((line) => line.split('/').at(-1) ?? '')
  }
  await heads()
  assert.deepEqual(await heads(), ['v1-rc'])
  app.pass(6 * minute)
  assert.deepEqual(await heads(), ['v1-rc', 'latest'])
  app.pass(60 * minute)
  assert.deepEqual(await heads(), ['v1', 'v1-rc', 'latest'])
})
