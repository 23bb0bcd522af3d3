// A connection by itself: when what comes may be answered past the parser.
import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { RepeatedConnection } from '../../src/http/repeated-connection.ts'

const request = Buffer.from('GET / HTTP/1.1\r\nHost: registry.example\r\n\r\n')

test('P7: who takes no answers is given none past the parser, which knows when to stop reading', async () => {
  using socket = disposable(new Socket())
  const seen: string[] = []
  const connection: RepeatedConnection = new RepeatedConnection(socket, {
    give: () => seen.push('given') > 0,
    onSent: () => assert.fail('nothing takes longer'),
  })
  socket.on('data', () => {
    seen.push('parsed')
    const incoming = new IncomingMessage(socket)
    incoming.complete = true
    const response = new ServerResponse(incoming)
    connection.began({ incoming, response })
    setImmediate(() => response.emit('finish'))
  })
  connection.listen()
  for (const expected of ['parsed', 'given', 'given']) {
    socket.emit('data', request)
    assert.equal(seen.pop(), expected)
    await turn()
  }
  socket.cork() // as a client does who takes nothing
  socket.write('an answer')
  socket.emit('data', request)
  assert.equal(seen.pop(), 'parsed')
})

function disposable(socket: Socket): Socket & Disposable {
  return Object.assign(socket, { [Symbol.dispose]: () => void socket.destroy() })
}
