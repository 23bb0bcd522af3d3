// Listens with next to no queue. Once it is stopped, and its queue full, the kernel drops what comes.
import { createServer } from 'node:net'

const server = createServer()
server.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 1 }, () => process.send?.('listening'))
process.on('disconnect', () => process.exit(0))
