import assert from 'node:assert/strict'

import { all, onServer } from './clients.js'

const ids = Array.from({ length: 30 }, (_, id) => id)
const records = ids.map((id) => ({ key: [id, 'x'], value: 'v' }))
const isAborted = { name: 'AbortError' }

for (const shards of [1, 4]) {
  onServer(`an abort ends iterators: ${shards} shards`, { pageLimit: 2, shards }, async (t, cache) => {
    await cache.putEach(records)
    for (const iterate of ['match', 'matchKeys']) {
      const controller = new AbortController()
      let met = 0
      await assert.rejects(async () => {
        for await (const _ of cache[iterate]('**', { signal: controller.signal })) if (++met === 3) controller.abort()
      }, isAborted)
      assert.ok(met >= 3 && met < ids.length, `${met} were met`)
    }
    const { signal } = new AbortController()
    assert.equal((await all(cache.match('**', { signal }))).length, ids.length) // it is not aborted
  })
}

onServer('a signal that is aborted already', {}, async (t, cache) => {
  await cache.putEach(records)
  const signal = AbortSignal.abort(new Error('no more'))
  const calls = [
    () => all(cache.match('**', { signal })),
    () => all(cache.list('*', { signal })),
    () => cache.collect('**', { signal }),
    () => cache.page('**', { signal }),
    () => cache.count('**', { signal }),
    () => cache.deleteMatch('**', { signal }),
    () => cache.touchMatch(1_000, '**', { signal }),
    () => cache.sweep({ signal }),
    () => cache.putEach([{ key: ['late'], value: 'v' }], { signal }),
    () => cache.deleteEach([[0, 'x']], { signal }),
    () => cache.touchEach(1_000, [[0, 'x']], { signal }),
  ]
  for (const call of calls) await assert.rejects(call, /^Error: no more$/, String(call))
  assert.equal(await cache.count('**'), ids.length)
})

onServer('an abort ends deleteMatch between two calls', { callRecords: 10 }, async (t, cache) => {
  await cache.putEach(records)
  const controller = new AbortController()
  const deleting = cache.deleteMatch('**', { signal: controller.signal })
  controller.abort()
  await assert.rejects(deleting, isAborted)
  assert.ok((await cache.count('**')) >= 20)
})

onServer('an abort ends putEach between two calls', { callRecords: 10 }, async (t, cache) => {
  const controller = new AbortController()
  const outcomes = []
  const outcome = (record, error) => {
    outcomes.push(error)
    controller.abort()
  }
  await assert.rejects(cache.putEach(records, { outcome, signal: controller.signal }), isAborted)
  assert.deepEqual(outcomes, Array(10).fill(null))
  assert.equal(await cache.count('**'), 10)
})

onServer('who leaves an iteration early leaves nothing behind', { pageLimit: 2, shards: 4 }, async (t, cache) => {
  await cache.putEach(records)
  for await (const { key } of cache.match('**')) {
    assert.deepEqual(key, [Buffer.from('0'), Buffer.from('x')])
    break
  }
  assert.equal(await cache.count('**'), ids.length)
})
