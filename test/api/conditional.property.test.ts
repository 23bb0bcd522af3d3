import assert from 'node:assert/strict'
import { noneMatch } from '../../src/api/conditional.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { property } from '../support/seeded.ts'

const digest = digestOf('a')

property('If-None-Match names the content where one of the tags it was made of does', (random) => {
  const others = [
    'x',
    '',
    'a,b',
    ` , ${digest},*,`,
    `,${digest}`,
    '*',
    digestOf('b'),
    `W/`,
    `${digest}x`,
    digest.slice(1),
  ]
  const tags = Array.from({ length: random.int(5) }, () => {
    const isIt = random.oneIn(6)
    const tag = isIt ? digest : random.pick(['x', ...others])
    const weak = random.oneIn(3) ? 'W/' : ''
    if (isIt && random.oneIn(2)) return { isIt, text: digest } // as distribution's clients write it
    return { isIt, text: `${weak}"${tag}"` }
  })
  if (random.oneIn(20)) tags.push({ isIt: true, text: '*' })
  const header = tags.map(({ text }) => text).join(random.pick([',', ', ', ' ,\t']))
  assert.equal(
    noneMatch(header, digest),
    tags.some(({ isIt }) => isIt),
    header,
  )
})
