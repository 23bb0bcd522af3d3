// Which process is surely dead, so that the files under its name may be taken.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { isDead, owner } from '../../src/drivers/process-owner.ts'
import { until } from '../support/proxy-under-test.ts'

test('P5: a process that is gone is dead, and one of another machine never is: nobody here can know', async () => {
  const gone = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
  await once(gone, 'exit')
  const [machine = ''] = owner.split('-')
  assert.equal(isDead(`${machine}-${gone.pid}-k3x`), true)
  const other = machine.replaceAll(/./g, (letter) => (letter === '0' ? '1' : '0'))
  assert.equal(isDead(`${other}-${gone.pid}-k3x`), false)
})

/** Its child ends when a line comes, and nobody ever asks for its end: `tail` does not know of it. */
const neglectful = 'exec 3<&0; (read line <&3) & echo $!; exec tail -f /dev/null'

test(
  'P5: a killed process that its parent has not asked for is dead, though its id stands',
  { skip: process.platform !== 'linux' && 'only Linux says so' },
  async () => {
    const parent = spawn('sh', ['-c', neglectful], { stdio: ['pipe', 'pipe', 'inherit'] })
    const ended = once(parent, 'exit')
    try {
      const [line] = await once(parent.stdout.setEncoding('utf8'), 'data')
      const pid = String(line).trim()
      const [machine = ''] = owner.split('-')
      const name = `${machine}-${pid}-k3x`
      assert.equal(isDead(name), false, 'it runs')
      parent.stdin.end('\n')
      await until(() => readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z '))
      assert.equal(isDead(name), true)
    } finally {
      parent.kill('SIGKILL')
      await ended
    }
  },
)
