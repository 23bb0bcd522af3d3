import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPrivateHost } from '../../src/upstream/private-address.ts'

const inside = [
  '127.0.0.1',
  '0x7f.1',
  '2130706433',
  '0177.0.0.1',
  '127.1',
  '0.0.0.0',
  '0',
  '10.1.2.3',
  '100.100.100.200',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '224.0.0.1',
  '255.255.255.255',
  '[::]',
  '[::1]',
  '[::127.0.0.1]',
  '[::ffff:10.0.0.1]',
  '[::ffff:7f00:1]',
  '[64:ff9b::a9fe:a9fe]',
  '[fc00::1]',
  '[fd12:3456::1]',
  '[fe80::1]',
  '[ff02::1]',
  'localhost',
  'LOCALHOST',
  'localhost.',
  'a.localhost',
]

const outside = [
  '8.8.8.8',
  '172.32.0.1',
  '172.15.0.1',
  '192.169.0.1',
  '100.128.0.1',
  '223.255.255.255',
  '[2606:4700::1111]',
  '[::ffff:8.8.8.8]',
  '[64:ff9b::808:808]',
  'registry.example',
  'localhost.example',
  '10.example',
]

for (const [hosts, expected] of [
  [inside, true],
  [outside, false],
] as const) {
  for (const host of hosts) {
    test(`${host} is ${expected ? '' : 'not '}in a private network`, () => {
      assert.equal(isPrivateHost(new URL(`http://${host}/`).hostname), expected)
    })
  }
}
