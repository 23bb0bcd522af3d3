import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PathNotFoundError } from '../../src/drivers/driver.ts'
import { inMemoryDriver } from '../../src/drivers/inmemory.ts'
import { TimedDriver } from '../../src/drivers/timed.ts'
import { driverConformance } from './conformance.ts'

driverConformance('timed', async () => ({
  driver: new TimedDriver(inMemoryDriver(), () => {}),
  [Symbol.asyncDispose]: async () => {},
}))

test('every call is told with its time, also one that fails', async () => {
  const told: [string, number][] = []
  const driver = new TimedDriver(inMemoryDriver(), (action, seconds) => told.push([action, seconds]))
  await driver.write('/a', Buffer.from('a'))
  await driver.move('/a', '/b')
  await assert.rejects(driver.read('/a', 1), PathNotFoundError)
  assert.deepEqual(
    told.map(([action]) => action),
    ['write', 'move', 'read'],
  )
  for (const [, seconds] of told) assert.ok(seconds >= 0 && seconds < 1)
})
