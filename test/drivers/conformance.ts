// What every storage driver does, whatever it stores on.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { collect } from '../../src/bytes/stream.ts'
import { DriverError, InvalidPathError, PathNotFoundError, type StorageDriver } from '../../src/drivers/driver.ts'
import type { DriverUnderTest } from '../support/drivers.ts'

const mebibyte = 1024 * 1024

export function driverConformance(name: string, makeDriver: () => Promise<DriverUnderTest>): void {
  const check = (sentence: string, body: (driver: StorageDriver) => Promise<void>): void => {
    test(sentence, async () => {
      await using made = await makeDriver()
      await body(made.driver)
    })
  }

  suite(`${name} driver: whole files`, () => {
    check('what was written is read back', async (driver) => {
      await driver.write('/a/b/c', Buffer.from('hello'))
      assert.equal((await driver.read('/a/b/c', 5)).toString(), 'hello')
      const stat = await driver.stat('/a/b/c')
      assert.equal(stat.kind, 'file')
      assert.equal(stat.size, 5)
      assert.ok(Math.abs(stat.modified.getTime() - Date.now()) < 60_000)
    })

    check('writing replaces what was there, and another version shows', async (driver) => {
      await driver.write('/f', Buffer.from('long before'))
      const before = await driver.stat('/f')
      await driver.write('/f', Buffer.from('now'))
      assert.equal((await driver.read('/f', 100)).toString(), 'now')
      assert.notEqual((await driver.stat('/f')).version, before.version)
    })

    check('an empty file is a file', async (driver) => {
      await driver.write('/empty', new Uint8Array())
      assert.equal((await driver.read('/empty', 0)).byteLength, 0)
      assert.equal((await collect(await driver.open('/empty'), 0)).byteLength, 0)
      assert.equal((await driver.stat('/empty')).size, 0)
    })

    check('a file that is larger than the limit is refused with EFBIG', async (driver) => {
      await driver.write('/f', Buffer.alloc(11))
      await assert.rejects(driver.read('/f', 10), hasCode('EFBIG'))
    })

    check('names are told apart by case', async (driver) => {
      await driver.write('/t/A', Buffer.from('upper'))
      await driver.write('/t/a', Buffer.from('lower'))
      assert.equal((await driver.read('/t/A', 5)).toString(), 'upper')
    })
  })

  suite(`${name} driver: errors`, () => {
    check('what is not there is not found, whoever asks', async (driver) => {
      await driver.write('/a/file', Buffer.from('x'))
      for (const path of ['/none', '/a/none', '/a/file/below', '/none/a/b']) {
        await assert.rejects(driver.stat(path), PathNotFoundError, path)
        await assert.rejects(driver.read(path, 10), PathNotFoundError, path)
        await assert.rejects(driver.open(path), PathNotFoundError, path)
        await assert.rejects(driver.list(path), PathNotFoundError, path)
        await assert.rejects(driver.remove(path), PathNotFoundError, path)
        await assert.rejects(driver.move(path, '/to'), PathNotFoundError, path)
      }
      await assert.rejects(driver.list('/a/file'), PathNotFoundError)
    })

    check('a path that is none is refused before anything is touched', async (driver) => {
      const wrong = [
        '',
        'a',
        '/a/',
        '//a',
        '/a//b',
        '/a/../b',
        '/..',
        '/.',
        '/a/./b',
        '/a b',
        '/ä',
        '/a\0b',
        '/a\n',
        '/a\\b',
      ]
      for (const path of wrong) {
        await assert.rejects(driver.stat(path), InvalidPathError, path)
        await assert.rejects(driver.read(path, 10), InvalidPathError, path)
        await assert.rejects(driver.open(path), InvalidPathError, path)
        await assert.rejects(driver.write(path, new Uint8Array()), InvalidPathError, path)
        await assert.rejects(driver.writer(path), InvalidPathError, path)
        await assert.rejects(driver.list(path), InvalidPathError, path)
        await assert.rejects(driver.remove(path), InvalidPathError, path)
        await assert.rejects(driver.move(path, '/a'), InvalidPathError, path)
        await assert.rejects(driver.move('/a', path), InvalidPathError, path)
      }
    })

    check('the root can be listed, and nothing else done to it', async (driver) => {
      await driver.write('/a', new Uint8Array())
      assert.ok((await driver.list('/')).includes('a'))
      assert.equal((await driver.stat('/')).kind, 'directory')
      await assert.rejects(driver.remove('/'), InvalidPathError)
      await assert.rejects(driver.write('/', new Uint8Array()), InvalidPathError)
      await assert.rejects(driver.writer('/'), InvalidPathError)
      await assert.rejects(driver.move('/a', '/'), InvalidPathError)
      await assert.rejects(driver.move('/', '/a'), InvalidPathError)
    })

    check('a folder in the place of a file is ENOTFILE, not absence', async (driver) => {
      await driver.write('/folder/file', Buffer.from('x'))
      await assert.rejects(driver.read('/folder', 10), hasCode('ENOTFILE'))
      await assert.rejects(driver.open('/folder'), hasCode('ENOTFILE'))
      await assert.rejects(driver.write('/folder', new Uint8Array()), hasCode('ENOTFILE'))
      await assert.rejects(driver.writer('/folder'), hasCode('ENOTFILE'))
      await assert.rejects(driver.move('/folder', '/to'), hasCode('ENOTFILE'))
      await assert.rejects(driver.move('/folder/file', '/folder'), DriverError)
      assert.equal((await driver.read('/folder/file', 10)).toString(), 'x')
    })

    check('a file in the place of a folder stops what is written below it', async (driver) => {
      await driver.write('/file', Buffer.from('x'))
      await assert.rejects(driver.write('/file/below', new Uint8Array()), DriverError)
      await assert.rejects(driver.writer('/file/below'), DriverError)
      await driver.write('/other', Buffer.from('y'))
      await assert.rejects(driver.move('/other', '/file/below'), DriverError)
      assert.equal((await driver.read('/other', 10)).toString(), 'y')
    })
  })

  suite(`${name} driver: streams`, () => {
    for (const size of [1, 1000, 64 * 1024, 64 * 1024 + 1, 512 * 1024, 3 * mebibyte + 17]) {
      check(`a stream gives exactly the range of a file of ${size} bytes`, async (driver) => {
        const bytes = pattern(size)
        await driver.write('/f', bytes)
        const whole = await driver.open('/f')
        assert.equal(whole.size, size)
        assert.equal(whole.version, (await driver.stat('/f')).version)
        assert.ok((await collect(whole, size)).equals(bytes))
        const half = Math.floor(size / 2)
        for (const [start, end] of [
          [0, half],
          [half, size],
          [half, half + 1],
          [size - 1, size],
          [size, size],
        ] as const) {
          const part = await collect(await driver.open('/f', { start, end }), size)
          assert.ok(part.equals(bytes.subarray(start, end)), `${start}-${end}`)
        }
        assert.ok((await collect(await driver.open('/f', { start: half }), size)).equals(bytes.subarray(half)))
      })
    }

    check('an open file stays readable when it is moved, replaced or removed', async (driver) => {
      const bytes = pattern(2 * mebibyte)
      const changes = [
        async () => await driver.move('/f', '/g'),
        async () => await driver.write('/f', Buffer.from('other')),
        async () => await driver.remove('/f'),
      ]
      for (const change of changes) {
        await driver.write('/f', bytes)
        const stream = await driver.open('/f')
        await change()
        assert.ok((await collect(stream, bytes.byteLength)).equals(bytes))
      }
    })

    check('a file that ends before the range does fails with ESHORT', async (driver) => {
      await driver.write('/f', pattern(100))
      await assert.rejects(collect(await driver.open('/f', { start: 0, end: 101 }), 1000), hasCode('ESHORT'))
      await driver.write('/g', pattern(2 * mebibyte))
      const stream = await driver.open('/g')
      await using writer = await driver.writer('/g')
      await writer.write(pattern(10))
      await assert.rejects(collect(stream, 4 * mebibyte), hasCode('ESHORT'))
    })

    check('a stream can be left, disposed, or never begun, as often as one likes', async (driver) => {
      await driver.write('/f', pattern(2 * mebibyte))
      const left = await driver.open('/f')
      for await (const chunk of left) {
        assert.ok(chunk.byteLength > 0)
        break
      }
      await left[Symbol.asyncDispose]()
      const begun = await driver.open('/f')
      const iterator = begun[Symbol.asyncIterator]()
      const first = iterator.next() // under way while it is disposed
      await begun[Symbol.asyncDispose]()
      assert.equal((await first).done, false)
      assert.equal((await iterator.next()).done, true)
      const untouched = await driver.open('/f')
      await untouched[Symbol.asyncDispose]()
      await untouched[Symbol.asyncDispose]()
      const returned = (await driver.open('/f'))[Symbol.asyncIterator]()
      await returned.return?.()
      assert.equal((await returned.next()).done, true)
    })

    check('many streams at once do not see each other’s bytes', async (driver) => {
      const files = Array.from({ length: 40 }, (_, index) => pattern(700 * 1024 + index, index))
      await Promise.all(files.map(async (bytes, index) => await driver.write(`/f${index}`, bytes)))
      await Promise.all(
        files.map(async (bytes, index) => {
          for (let round = 0; round < 3; round++) {
            assert.ok((await collect(await driver.open(`/f${index}`), mebibyte)).equals(bytes))
          }
        }),
      )
    })
  })

  suite(`${name} driver: writers`, () => {
    check('a file grows by what is written, and can be read meanwhile', async (driver) => {
      await using writer = await driver.writer('/up/load/data')
      assert.equal(writer.size, 0)
      let size = 0
      for (let round = 0; round < 5; round++) {
        const chunk = pattern(300_000, round)
        await writer.write(chunk)
        chunk.fill(0) // it has been taken
        assert.equal(writer.size, size + 300_000)
        const read = await collect(await driver.open('/up/load/data', { start: size, end: size + 300_000 }), mebibyte)
        assert.ok(read.equals(pattern(300_000, round)))
        size += 300_000
      }
      await writer.sync()
    })

    check('appending goes on where the file ends, and without it the file starts empty', async (driver) => {
      await driver.write('/f', Buffer.from('first'))
      {
        await using writer = await driver.writer('/f', { append: true })
        assert.equal(writer.size, 5)
        await writer.write(Buffer.from(' second'))
      }
      assert.equal((await driver.read('/f', 100)).toString(), 'first second')
      await using writer = await driver.writer('/f')
      assert.equal(writer.size, 0)
      assert.equal((await driver.stat('/f')).size, 0)
    })

    check('closing is idempotent, and ends writing', async (driver) => {
      const writer = await driver.writer('/f')
      await writer.write(Buffer.from('x'))
      await writer.close()
      await writer.close()
      await writer[Symbol.asyncDispose]()
      await assert.rejects(writer.write(Buffer.from('y')))
      await assert.rejects(writer.sync())
      assert.equal((await driver.read('/f', 10)).toString(), 'x')
    })

    check('closing waits for a write that is under way', async (driver) => {
      const writer = await driver.writer('/f')
      const writing = writer.write(pattern(4 * mebibyte))
      await writer.close()
      await writing
      assert.equal((await driver.stat('/f')).size, 4 * mebibyte)
    })

    check('a file that is moved while it is written keeps what comes', async (driver) => {
      await using writer = await driver.writer('/from/f')
      await writer.write(Buffer.from('a'))
      await driver.move('/from/f', '/to/f')
      await writer.write(Buffer.from('b'))
      assert.equal((await driver.read('/to/f', 10)).toString(), 'ab')
      await assert.rejects(driver.stat('/from/f'), PathNotFoundError)
    })
  })

  suite(`${name} driver: folders`, () => {
    check('a list is in byte order, and knows one level', async (driver) => {
      for (const folder of ['b', 'a-b', 'A', 'a', 'a.b', '_x', '10', '9']) {
        await driver.write(`/l/${folder}/x`, new Uint8Array())
      }
      assert.deepEqual(await driver.list('/l'), ['10', '9', 'A', '_x', 'a', 'a-b', 'a.b', 'b'])
    })

    check('moving puts a file in another’s place', async (driver) => {
      await driver.write('/a/f', Buffer.from('new'))
      await driver.write('/b/c/f', Buffer.from('old'))
      await driver.move('/a/f', '/b/c/f')
      assert.equal((await driver.read('/b/c/f', 10)).toString(), 'new')
      await assert.rejects(driver.stat('/a/f'), PathNotFoundError)
    })

    check('removing takes a folder with all that is in it, and only that', async (driver) => {
      for (const path of ['/r/a/1', '/r/a/b/2', '/r/ab/3']) await driver.write(path, Buffer.from(path))
      await driver.remove('/r/a')
      await assert.rejects(driver.stat('/r/a/b/2'), PathNotFoundError)
      assert.deepEqual(await driver.list('/r'), ['ab'])
    })

    check('a folder that must be empty to go stays with what is in it', async (driver) => {
      await driver.write('/e/f/g', Buffer.from('x'))
      await assert.rejects(driver.remove('/e/f', { ifEmpty: true }), hasCode('ENOTEMPTY'))
      assert.equal((await driver.read('/e/f/g', 10)).toString(), 'x')
      await driver.remove('/e/f/g', { ifEmpty: true })
      await driver.remove('/e/f', { ifEmpty: true })
      assert.deepEqual(await driver.list('/e'), [])
      await assert.rejects(driver.remove('/e/f', { ifEmpty: true }), PathNotFoundError)
    })

    check('an emptied folder stays', async (driver) => {
      await driver.write('/e/f', new Uint8Array())
      await driver.remove('/e/f')
      assert.deepEqual(await driver.list('/e'), [])
    })

    check('many may make the same folders at once', async (driver) => {
      const names = Array.from({ length: 50 }, (_, index) => `f${index}`)
      await Promise.all(names.map(async (file) => await driver.write(`/deep/er/still/${file}`, Buffer.from(file))))
      assert.equal((await driver.list('/deep/er/still')).length, 50)
    })
  })
}

/** Bytes of which no two places look alike. */
export function pattern(size: number, seed: number = 0): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(Math.imul(at + seed * 7919, 2654435761) >>> 0, at)
  return bytes
}

export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof DriverError && error.code === code
}
