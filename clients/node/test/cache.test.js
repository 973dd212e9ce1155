import assert from 'node:assert/strict'
import test from 'node:test'

import {
  BadArgumentError,
  BadPatternError,
  ConditionError,
  CrossShardError,
  EachError,
  EncodingError,
  InvalidKeyError,
  InvalidTtlError,
  ScriptError,
  Wildkey,
  absent,
  equal,
  equalSHA1,
  keep,
  never,
  present,
} from '../wildkey.js'
import { all, nodeRedis, onEachClient, onServer, ownNamespace } from './clients.js'

const BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
const user = (...segments) => ['user', 42, ...segments]
const session = (id) => user('session', id)

onEachClient('reads and writes by key', {}, async (t, cache) => {
  await cache.load()
  await cache.put({ key: session('a'), value: BYTES }, { key: session('b'), value: 'é', ttl: never })
  assert.deepEqual(await cache.get(session('a')), BYTES)
  assert.equal(await cache.get(session('c')), null)
  assert.deepEqual(await cache.getMany(session('b'), session('c'), session('a')), [Buffer.from('é'), null, BYTES])
  assert.deepEqual(await cache.getMany(), [])

  assert.equal(await cache.ttl(session('b')), never)
  assert.equal(await cache.ttl(session('c')), null)
  const left = await cache.ttl(session('a'))
  assert.ok(Number(left) > 3_500_000 && Number(left) <= 3_600_000, `${left} ms`)
  assert.deepEqual(await cache.getTouch(7_200_000, session('b')), Buffer.from('é'))
  assert.ok(Number(await cache.ttl(session('b'))) > 7_100_000)
  assert.deepEqual(await cache.getTouch(never, session('b')), Buffer.from('é'))
  assert.equal(await cache.ttl(session('b')), never)
  assert.equal(await cache.getTouch(never, session('c')), null)

  assert.equal(await cache.touch(60_000, session('a'), session('b'), session('c')), 2)
  await cache.put({ key: session('a'), value: '', ttl: keep })
  assert.ok(Number(await cache.ttl(session('a'))) <= 60_000)
  assert.deepEqual(await cache.take(session('a')), Buffer.alloc(0))
  assert.equal(await cache.take(session('a')), null)
  assert.equal(await cache.delete(session('a'), session('b')), 1)
  assert.equal(await cache.delete(), 0)
})

onEachClient('applies operations under conditions', {}, async (t, cache) => {
  assert.equal(
    await cache.apply(
      { key: session('a'), value: 'old', condition: absent },
      { op: 'check', key: session('b'), condition: absent },
      { op: 'touch', key: session('nobody'), ttl: 1_000 },
      { op: 'delete', key: session('c') },
    ),
    1,
  )
  const failing = [
    { key: session('b'), value: 'v', ttl: keep },
    { key: session('a'), value: 'v', condition: absent },
    { key: session('b'), value: 'v', condition: present },
    { op: 'delete', key: session('a'), condition: equal('new') },
    { op: 'touch', key: session('a'), ttl: never, condition: equalSHA1('0'.repeat(40)) },
  ]
  for (const operation of failing) {
    await assert.rejects(cache.apply({ key: session('d'), value: 'v' }, operation), (error) => {
      assert.ok(error instanceof ConditionError)
      assert.equal(error.index, 1)
      assert.deepEqual(error.key, operation.key)
      return true
    })
  }
  assert.equal(await cache.get(session('d')), null)
  assert.equal(await cache.apply({ op: 'delete', key: session('a'), condition: equal('old') }), 1)
})

onEachClient('finds by pattern', { pageLimit: 2, pageReads: 3 }, async (t, cache) => {
  const ids = ['a', 'b', 'c', 'd', 'e']
  await cache.put(...ids.map((id) => ({ key: session(id), value: id })), { key: user(), value: 'Ann', ttl: never })
  const text = cache.withEncoding('utf8')
  const keys = ids.map((id) => ['user', '42', 'session', id])

  assert.deepEqual(await all(text.match('user:42:session:*')), ids.map((id, i) => ({ key: keys[i], value: id })))
  assert.deepEqual(await all(text.matchKeys('user:*:session:a<d', { fromMaster: true })), keys.slice(0, 3))
  assert.deepEqual(await cache.collect('user:42', { withTtl: true }), [
    { key: [Buffer.from('user'), Buffer.from('42')], value: Buffer.from('Ann'), ttl: never },
  ])
  assert.equal(await cache.count('user:**'), 6)
  assert.equal(await cache.count('nobody:**'), 0)
  assert.deepEqual(await all(text.list('user:*')), [
    { key: ['user', '42'], beneath: false },
    { key: ['user', '42'], beneath: true },
  ])
  assert.equal(await cache.estimate('**'), 6)
  assert.equal(await cache.estimate('user:42:**'), 6)

  const met = []
  let page = { entries: [], cursor: '' }
  do {
    page = await text.page('user:42:session:*', { cursor: page.cursor, limit: 3, withTtl: true })
    assert.ok(page.entries.length <= 3)
    for (const { key, ttl } of page.entries) {
      assert.ok(Number(ttl) > 3_500_000)
      met.push(key)
    }
  } while (page.cursor)
  assert.deepEqual(met, keys)
  page = await text.page('user:42:session:*', { after: session('c') })
  assert.deepEqual(page.entries, [{ key: keys[3], value: 'd' }, { key: keys[4], value: 'e' }])

  assert.equal(await cache.touchMatch(1_000_000, 'user:42:session:*'), 5)
  assert.ok(Number(await cache.ttl(session('e'))) <= 1_000_000)
  assert.equal(await cache.deleteMatch('user:42:session:*'), 5)
  assert.equal(await cache.count('**'), 1)
})

const inShards = { shards: 7, callRecords: 5, pageLimit: 4, encoding: 'utf8' }

onEachClient('works on several shards', inShards, async (t, cache) => {
  const ids = Array.from({ length: 40 }, (_, id) => id)
  const inOrder = ids.map((id) => `${id}:x`).sort().map((encoded) => encoded.slice(0, -2))
  assert.equal(await cache.putEach(ids.map((id) => ({ key: [id, 'x'], value: String(id) }))), 40)
  assert.deepEqual((await all(cache.match('*:x'))).map(({ value }) => value), inOrder)
  assert.deepEqual((await all(cache.list('*'))).map(({ key }) => key[0]), inOrder)
  assert.deepEqual(await all(cache.matchKeys('7:**')), [['7', 'x']])
  assert.equal(await cache.count('**'), 40)
  assert.equal(await cache.estimate('**'), 40)
  const values = await cache.withEncoding('utf8').getMany([3, 'x'], [4, 'x'], [99], [5, 'x'])
  assert.deepEqual(values, ['3', '4', null, '5'])

  const met = []
  for (let cursor = '', more = true; more; more = cursor !== '') {
    const page = await cache.page('**', { cursor, limit: 9 })
    met.push(...page.entries.map(({ value }) => value))
    cursor = page.cursor
  }
  assert.deepEqual(met, inOrder)

  let total = 0
  for (let number = 0; number < 7; number++) total += await cache.onShard(number).count('**')
  assert.equal(total, 40)
  await assert.rejects(cache.put(...ids.slice(0, 5).map((id) => ({ key: [id], value: '' }))), CrossShardError)
  assert.throws(() => cache.onShard(7), BadArgumentError)

  assert.equal(await cache.touchEach(60_000, ids.map((id) => [id, 'x'])), 40)
  assert.equal(await cache.touchMatch(never, '**'), 40)
  assert.equal(await cache.deleteEach(ids.slice(0, 10).map((id) => [id, 'x'])), 10)
  assert.equal(await cache.deleteMatch('**'), 30)
})

onServer('text is returned without the loss of a byte', { encoding: 'utf8' }, async (t, cache) => {
  await cache.put({ key: ['a'], value: '\ufeffé\0' }, { key: ['b'], value: BYTES }, { key: [BYTES], value: 'v' })
  assert.equal(await cache.get(['a']), '\ufeffé\0')
  for (const read of [cache.get(['b']), cache.getMany(['a'], ['b']), cache.take(['b']), all(cache.matchKeys('%00*'))]) {
    await assert.rejects(read, (error) => error instanceof EncodingError && error.bytes.equals(BYTES))
  }
  assert.deepEqual(await cache.withEncoding().get(['a']), Buffer.from('\ufeffé\0'))
})

onServer('arguments that cannot be meant are refused', { ttl: undefined, callRecords: 3 }, async (t, cache) => {
  const refused = [
    [InvalidTtlError, () => cache.put({ key: ['a'], value: 'v' })],
    ...[0, -1, NaN, 1.5, Infinity, 1e15, '1000', null, 10n].flatMap((ttl) => [
      [InvalidTtlError, () => cache.put({ key: ['a'], value: 'v', ttl })],
      [InvalidTtlError, () => cache.touch(ttl, ['a'])],
      [InvalidTtlError, () => cache.touchMatch(ttl, '**')],
      [InvalidTtlError, () => cache.getTouch(ttl, ['a'])],
      [InvalidTtlError, () => cache.touchEach(ttl, [['a']])],
    ]),
    [InvalidTtlError, () => cache.touch(keep, ['a'])],
    [BadArgumentError, () => cache.put({ key: ['a'], value: 1, ttl: never })],
    [BadArgumentError, () => cache.put({ key: ['a'], value: undefined, ttl: never })],
    [BadArgumentError, () => cache.apply({ op: 'check', key: ['a'] })],
    [BadArgumentError, () => cache.apply({ op: 'get', key: ['a'] })],
    [BadArgumentError, () => cache.apply(null)],
    [BadArgumentError, () => cache.delete(['a'], ['b'], ['c'], ['d'])],
    [BadArgumentError, () => cache.touch(never, ['a'], ['a'])], // says the script
    [BadArgumentError, () => cache.page('**', { cursor: 'nonsense' })],
    [BadArgumentError, () => cache.page('**', { cursor: '>a', after: ['a'] })],
    [BadArgumentError, () => cache.page('**', { limit: 0 })],
    [BadArgumentError, () => cache.count('**', { limit: 1 })],
    [BadArgumentError, () => cache.putEach(undefined)],
    [BadPatternError, () => all(cache.match('a::b'))],
    [BadPatternError, () => all(cache.list('a:**'))],
    [BadPatternError, () => cache.estimate('a:*')],
    [InvalidKeyError, () => cache.getMany(['a'], [null])],
    [InvalidKeyError, () => cache.put({ key: [1.5], value: 'v', ttl: never })],
  ]
  for (const [type, call] of refused) {
    await assert.rejects(call, (error) => error.constructor === type, String(call))
  }
  await assert.rejects(cache.put({ key: ['a', 'b'], value: 'v', ttl: 0 }), { key: ['a', 'b'], ttl: 0 })
})

onServer('putEach writes the others', { callRecords: 4 }, async (t, cache) => {
  await cache.put({ key: ['taken'], value: 'v' })
  const records = Array.from({ length: 20 }, (_, id) => ({ key: [id], value: 'v', condition: absent }))
  const bad = { key: ['bad'], value: 'v', ttl: 0, condition: absent }
  const source = [...records.slice(0, 7), { ...records[0], key: ['taken'] }, ...records.slice(7), bad, records[3]]
  const outcomes = []
  const outcome = (record, error) => outcomes.push([record, error?.constructor ?? null])
  await assert.rejects(cache.putEach(source, { outcome }), (error) => {
    assert.ok(error instanceof EachError && error.cause instanceof ConditionError)
    assert.deepEqual([error.done, error.failed, error.key], [20, 3, ['taken']])
    return true
  })
  const reasons = { 7: ConditionError, 21: InvalidTtlError, 22: ConditionError }
  assert.deepEqual(outcomes, source.map((record, i) => [record, reasons[i] ?? null]))
  assert.equal(await cache.count('**'), 21)

  async function* broken() {
    yield* [['taken'], [0]]
    throw new Error('the source is broken')
  }
  await assert.rejects(cache.deleteEach(broken()), /the source is broken/)
  assert.equal(await cache.count('**'), 19)
})

onServer('sweep drops what is stale', {}, async (t, cache, cacheOf) => {
  await cache.putEach([1, 2, 3].map((id) => ({ key: [id], value: 'v', ttl: id === 3 ? never : 1 })))
  await new Promise((resolve) => setTimeout(resolve, 20))
  const leaving = await cacheOf({ leaveStale: true })
  assert.equal(await leaving.count('**'), 1)
  assert.equal(await cache.estimate('**'), 3)
  assert.equal(await cache.sweep(), 2)
  assert.equal(await cache.sweep(), 0)
  assert.equal(await cache.estimate('**'), 1)
})

onServer('declared keys are enough', { declaredKeys: true, pageLimit: 2, encoding: 'utf8' }, async (t, cache) => {
  await cache.put({ key: ['a'], value: '1', ttl: 1 }, ...['b', 'c', 'd'].map((id) => ({ key: [id], value: id })))
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.deepEqual((await cache.collect('**')).map(({ value }) => value), ['b', 'c', 'd'])
  assert.deepEqual(await all(cache.matchKeys('*')), [['b'], ['c'], ['d']])
  await assert.rejects(cache.count('**'), BadArgumentError)
  await assert.rejects(all(cache.list('*')), BadArgumentError)
  await assert.rejects(cache.collect('*', { withTtl: true }), BadArgumentError)
  assert.equal(await cache.touchMatch(never, '**'), 3)
  assert.equal(await cache.sweep(), 1)
  assert.equal(await cache.deleteMatch('**'), 3)
})

test('preloaded scripts are not loaded', async (t) => {
  const client = await nodeRedis(t)
  await client.sendCommand(['SCRIPT', 'FLUSH'])
  const cache = new Wildkey(client, ownNamespace({ preloaded: true }))
  await assert.rejects(cache.load(), ScriptError)
  await assert.rejects(cache.put({ key: ['a'], value: 'v' }), /^ScriptError: not on the server: put\.lua [0-9a-f]{40}$/)
  await new Wildkey(client).load()
  await cache.load()
  await cache.put({ key: ['a'], value: 'v' })
})

onServer('a script that is missing is sent once for many callers', {}, async (t, cache) => {
  const client = await nodeRedis(t)
  await client.sendCommand(['SCRIPT', 'FLUSH'])
  const ids = Array.from({ length: 50 }, (_, id) => id)
  await Promise.all(ids.map((id) => cache.put({ key: [id], value: 'v' })))
  assert.equal(await cache.count('**'), 50)
})
