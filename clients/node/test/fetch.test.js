import assert from 'node:assert/strict'

import { BadArgumentError, Fetcher, InvalidKeyError, Leases, Wildkey, absent, never } from '../wildkey.js'
import { nodeRedis, onEachClient, onServer } from './clients.js'

const key = ['user', 42, 'name']
const forbidden = () => assert.fail('this load is not to be called')

/** A load that a test lets return when it wants to. */
function heldLoad() {
  const load = { calls: 0, signal: undefined, begin: undefined, answer: undefined, fail: undefined, run: undefined }
  const begun = new Promise((resolve) => (load.begin = resolve))
  const answered = new Promise((resolve, reject) => Object.assign(load, { answer: resolve, fail: reject }))
  answered.catch(() => {}) // it may fail before the load is called
  load.run = ({ signal }) => {
    load.calls++
    load.signal = signal
    load.begin()
    return answered
  }
  return { load, begun }
}

const leases = (cache) => cache.count(new Leases('**'))
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

async function eventually(what, holds) {
  for (let i = 0; i < 500; i++) {
    if (await holds()) return
    await pause(10)
  }
  assert.fail(`it is never true: ${what}`)
}

onEachClient('a record is loaded once', { encoding: 'utf8' }, async (t, cache) => {
  const fetcher = new Fetcher(cache)
  const values = ['Ann', { value: Buffer.from('Bob'), ttl: never }, '']
  for (const [i, value] of values.entries()) {
    const text = typeof value === 'string' ? value : 'Bob'
    assert.equal(await fetcher.get([i], async () => value), text)
    assert.equal(await fetcher.get([i], forbidden), text)
  }
  assert.equal(await cache.ttl([1]), never)
  assert.ok(Number(await cache.ttl([0])) > 3_000_000)
  assert.equal(await leases(cache), 0)
  assert.deepEqual(fetcher.stats(), { loads: 3, stored: 3, refused: 0, failed: 0, unleased: 0, refreshes: 0, waits: 0 })
})

onServer('concurrent calls of a process are one', {}, async (t, cache) => {
  const fetcher = new Fetcher(cache)
  const { load } = heldLoad()
  const calls = Array.from({ length: 20 }, () => fetcher.get(key, load.run))
  load.answer('Ann')
  const values = await Promise.all(calls)
  values[0][0] = 0 // each has its own
  assert.deepEqual(values.slice(1), Array(19).fill(Buffer.from('Ann')))
  assert.equal(load.calls, 1)
})

for (const declaredKeys of [false, true]) {
  const name = `another process waits for the value: declaredKeys ${declaredKeys}`
  onServer(name, { declaredKeys }, async (t, cache, cacheOf) => {
    const others = [new Fetcher(await cacheOf()), new Fetcher(await cacheOf())]
    const { load, begun } = heldLoad()
    const loading = new Fetcher(cache).get(key, load.run)
    await begun
    const waiting = others.map((other) => other.get(key, forbidden))
    await eventually('both wait', () => others.every((other) => other.stats().waits >= 2))
    load.answer('Ann')
    assert.deepEqual(await Promise.all([loading, ...waiting]), Array(3).fill(Buffer.from('Ann')))
  })
}

for (const [verb, invalidate] of Object.entries({
  put: (fetcher) => fetcher.put({ key, value: 'new' }),
  delete: (fetcher) => fetcher.delete(key),
  apply: (fetcher) => fetcher.apply({ op: 'check', key: ['other'], condition: absent }, { op: 'delete', key }),
  take: (fetcher) => fetcher.take(key),
  deleteMatch: (fetcher) => fetcher.deleteMatch('user:*:name'),
})) {
  const name = `a value that was read before ${verb} is not stored after it`
  onServer(name, { encoding: 'utf8' }, async (t, cache, cacheOf) => {
    const fetcher = new Fetcher(cache)
    const { load, begun } = heldLoad()
    const loading = fetcher.get(key, load.run)
    await begun
    await invalidate(new Fetcher(await cacheOf()))
    const late = fetcher.get(key, () => 'new') // joins what has begun, if there is no record
    await pause(20)
    load.answer('old')
    assert.equal(await loading, 'old')
    assert.equal(await late, 'new')
    assert.equal(await cache.get(key), 'new')
    assert.equal(await leases(cache), 0)
    assert.equal(fetcher.stats().refused, 1)
  })
}

/** A client whose answers to commands with one of these words come when a test wants them. */
function holdingAnswers(client, word) {
  const held = { done: undefined, release: undefined }
  const done = new Promise((resolve) => (held.done = resolve))
  const released = new Promise((resolve) => (held.release = resolve))
  const holding = {
    withTypeMapping: forbidden,
    async sendCommand(words, options) {
      const reply = await client.sendCommand(words, options)
      if (words.some((sent) => String(sent) === word)) {
        held.done()
        await released
      }
      return reply
    },
  }
  return { holding, done, release: held.release }
}

onServer('who calls after an invalidation joins no load that was stored before it', {}, async (t, cache, cacheOf) => {
  const { holding, done, release } = holdingAnswers(await nodeRedis(t), 'old')
  const fetcher = new Fetcher(new Wildkey(holding, cache.options))
  const loading = fetcher.get(key, () => 'old')
  await done // the value is stored, and the fetcher does not know yet
  assert.equal(await new Fetcher(await cacheOf()).delete(key), 1)
  const late = fetcher.get(key, () => 'new')
  await pause(20)
  release()
  assert.deepEqual(await Promise.all([loading, late]), [Buffer.from('old'), Buffer.from('new')])
})

onServer('a negative result is remembered until it is void', {}, async (t, cache, cacheOf) => {
  const fetcher = new Fetcher(cache, { negative: 60_000 })
  assert.equal(await fetcher.get(key, () => null), null)
  assert.equal(await fetcher.get(key, forbidden), null)
  assert.equal(await new Fetcher(await cacheOf()).get(key, forbidden), null)
  await fetcher.put({ key, value: 'Ann' })
  assert.deepEqual(await fetcher.get(key, forbidden), Buffer.from('Ann'))
  await fetcher.delete(key)
  let calls = 0
  const forgetful = new Fetcher(cache)
  for (let i = 0; i < 2; i++) assert.equal(await forgetful.get(key, () => (calls++, { value: null })), null)
  assert.equal(calls, 2)
})

onServer('an error is for all who wait, and the next one loads', {}, async (t, cache) => {
  const fetcher = new Fetcher(cache)
  const { load } = heldLoad()
  const calls = [fetcher.get(key, load.run), fetcher.get(key, load.run)]
  load.fail(new Error('the database is down'))
  for (const call of calls) await assert.rejects(call, /^Error: the database is down$/)
  const thrown = () => {
    throw new Error('at once')
  }
  await assert.rejects(fetcher.get(key, thrown), /^Error: at once$/)
  for (const none of [undefined, {}, 7, { value: 7 }]) {
    await assert.rejects(fetcher.get(key, () => none), BadArgumentError)
  }
  assert.equal(await leases(cache), 0)
  assert.deepEqual(await fetcher.get(key, () => 'Ann'), Buffer.from('Ann'))
  await assert.rejects(fetcher.get([null], forbidden), InvalidKeyError)
  await assert.rejects(fetcher.get(key, undefined), BadArgumentError)
})

onServer('who gives up ends no load', {}, async (t, cache) => {
  const fetcher = new Fetcher(cache)
  const { load, begun } = heldLoad()
  const controller = new AbortController()
  const call = fetcher.get(key, load.run, { signal: controller.signal })
  await begun
  controller.abort()
  await assert.rejects(call, { name: 'AbortError' })
  assert.equal(load.signal.aborted, false)
  load.answer('Ann')
  await eventually('the value is stored', () => cache.get(key))
})

onServer('the last who gives up ends the load, if it is to', {}, async (t, cache) => {
  const fetcher = new Fetcher(cache, { endWithCaller: true })
  const { load, begun } = heldLoad()
  const controllers = [new AbortController(), new AbortController()]
  const calls = controllers.map(({ signal }) => fetcher.get(key, load.run, { signal }))
  await begun
  controllers[0].abort()
  await assert.rejects(calls[0], { name: 'AbortError' })
  assert.equal(load.signal.aborted, false)
  controllers[1].abort()
  await assert.rejects(calls[1], { name: 'AbortError' })
  assert.equal(load.signal.aborted, true)
  load.fail(load.signal.reason)
  await eventually('the lease is given back', async () => (await leases(cache)) === 0)
})

onServer('who waits for another process can give up', {}, async (t, cache, cacheOf) => {
  const { load, begun } = heldLoad()
  const loading = new Fetcher(cache).get(key, load.run)
  await begun
  const other = new Fetcher(await cacheOf())
  const started = performance.now()
  await assert.rejects(other.get(key, forbidden, { signal: AbortSignal.timeout(50) }), { name: 'TimeoutError' })
  assert.ok(performance.now() - started < 5_000)
  load.answer('Ann')
  await loading
})

onServer('a loader that dies holds others up for its lease', {}, async (t, cache, cacheOf) => {
  const { load, begun } = heldLoad()
  const dead = new Fetcher(cache, { lease: 100 }).get(key, load.run)
  await begun
  assert.deepEqual(await new Fetcher(await cacheOf()).get(key, () => 'Ann'), Buffer.from('Ann'))
  load.answer('late')
  assert.deepEqual(await dead, Buffer.from('late'))
  assert.deepEqual(await cache.get(key), Buffer.from('Ann'))
})

onServer('what is hit is renewed before it ends', { ttl: 1_000_000, encoding: 'utf8' }, async (t, cache) => {
  t.mock.method(Math, 'random', () => 0) // each hit looks
  const fetcher = new Fetcher(cache, { refreshAhead: 0.5 })
  await cache.put({ key, value: 'old', ttl: 400_000 })
  assert.equal(await fetcher.get(key, () => 'new'), 'old')
  await eventually('the record is renewed', async () => (await cache.get(key)) === 'new')
  assert.ok(Number(await cache.ttl(key)) > 900_000)
  assert.equal(await fetcher.get(key, forbidden), 'new') // it has all its time left
  assert.equal(fetcher.stats().refreshes, 1)

  await cache.put({ key, value: 'old', ttl: 400_000 })
  await eventually('no flight is under way', async () => (await leases(cache)) === 0)
  const { load, begun } = heldLoad()
  assert.equal(await fetcher.get(key, load.run), 'old')
  await begun
  await cache.put({ key, value: 'put' }) // by one who knows of no lease
  load.answer('loaded')
  await eventually('the load is over', () => fetcher.stats().refused === 1)
  assert.equal(await cache.get(key), 'put')

  await cache.put({ key, value: 'old', ttl: 400_000 })
  await eventually('the lease is gone', async () => (await leases(cache)) === 0)
  assert.equal(await fetcher.get(key, () => null), 'old')
  await eventually('what is gone is deleted', async () => (await cache.get(key)) === null)
})

onServer('one hit in a hundred looks for the time left', {}, async (t, cache) => {
  let draws = 0
  t.mock.method(Math, 'random', () => (draws++, 0.0101))
  const fetcher = new Fetcher(cache, { refreshAhead: 1 })
  await cache.put({ key, value: 'old', ttl: 1_000 })
  for (let i = 0; i < 5; i++) await fetcher.get(key, forbidden)
  assert.equal(draws, 5)
  assert.equal(fetcher.stats().refreshes, 0)
})

onServer('a server that refuses leases stores nothing', {}, async (t, cache) => {
  const admin = await nodeRedis(t)
  const maxmemory = await admin.sendCommand(['CONFIG', 'GET', 'maxmemory']).catch(() => undefined)
  if (maxmemory === undefined) return t.skip('the embedded engine has no CONFIG')
  await cache.load()
  const used = /used_memory:(\d+)/.exec(String(await admin.sendCommand(['INFO', 'memory'])))
  await admin.sendCommand(['CONFIG', 'SET', 'maxmemory', String(Math.floor(Number(used[1]) / 2))])
  try {
    const fetcher = new Fetcher(cache)
    assert.deepEqual(await fetcher.get(key, () => 'Ann'), Buffer.from('Ann'))
    assert.equal(await cache.get(key), null)
    assert.equal(fetcher.stats().unleased, 1)
    // A crowd is answered by few loads, though none of them is stored.
    const slowly = () => new Promise((resolve) => setTimeout(resolve, 20, 'Bob'))
    const crowd = await Promise.all(Array.from({ length: 40 }, () => fetcher.get(key, slowly)))
    assert.ok(crowd.every((value) => String(value) === 'Bob'))
    assert.ok(fetcher.stats().loads < 30, `${fetcher.stats().loads} loads`)
    assert.equal(await fetcher.delete(key), 0)
    await assert.rejects(fetcher.put({ key, value: 'v' }), /OOM/)
  } finally {
    await admin.sendCommand(['CONFIG', 'SET', 'maxmemory', '0'])
  }
})
