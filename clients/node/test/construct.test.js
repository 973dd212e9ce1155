import assert from 'node:assert/strict'
import test from 'node:test'

import { BadArgumentError, Fetcher, InvalidKeyError, InvalidTtlError, ScriptError, Wildkey } from '../wildkey.js'
import { nodeIoredis, nodeRedis, onServer } from './clients.js'

test('what is no client is refused', async (t) => {
  const redis = await nodeRedis(t)
  const ioredis = nodeIoredis(t)
  for (const client of [redis.multi(), ioredis.pipeline(), ioredis.multi()]) {
    assert.throws(() => new Wildkey(client), { name: 'TypeError', message: /answers only once it is executed/ })
  }
  for (const client of [undefined, null, {}, 'redis://127.0.0.1', redis.sendCommand, new Map()]) {
    assert.throws(() => new Wildkey(client), /^TypeError: the client is neither one of redis/)
  }
  const pipelining = nodeIoredis(t, { enableAutoPipelining: true })
  assert.throws(() => new Wildkey(pipelining), { name: 'TypeError', message: /enableAutoPipelining garbles/ })
  const prefixed = nodeIoredis(t, { keyPrefix: 'app:' })
  assert.throws(() => new Wildkey(prefixed), { name: 'TypeError', message: /keyPrefix would part records/ })
})

test('options that cannot be meant are refused', async (t) => {
  const client = await nodeRedis(t)
  const refused = [
    [BadArgumentError, { tll: 1_000 }],
    [BadArgumentError, null],
    [BadArgumentError, { encoding: 'latin1' }],
    [BadArgumentError, { shards: 0 }],
    [BadArgumentError, { shards: 16_385 }],
    [BadArgumentError, { shardSegments: 1.5 }],
    [BadArgumentError, { callRecords: 10_001 }],
    [BadArgumentError, { pageLimit: '10' }],
    [BadArgumentError, { pageReads: 100_000 }],
    [BadArgumentError, { callBytes: NaN }],
    [InvalidTtlError, { ttl: 0 }],
    [InvalidTtlError, { ttl: 1.5 }],
    [InvalidTtlError, { ttl: 'keep' }],
    [InvalidKeyError, { namespace: '' }],
    [ScriptError, { scripts: '/nowhere' }],
  ]
  for (const [type, options] of refused) {
    assert.throws(() => new Wildkey(client, options), (error) => error.constructor === type, JSON.stringify(options))
  }
  const { options } = new Wildkey(client, { namespace: 'app', ttl: undefined })
  assert.equal(options.namespace, 'app')
  assert.equal(options.callRecords, 250)
})

onServer('a Fetcher that cannot be meant is refused', { ttl: undefined }, (t, cache) => {
  const refused = [
    [BadArgumentError, { laese: 1 }],
    [BadArgumentError, { lease: 'never' }],
    [InvalidTtlError, { lease: 0 }],
    [InvalidTtlError, { negative: 0.5 }],
    [BadArgumentError, { refreshAhead: 2 }],
    [BadArgumentError, { refreshAhead: 0.1 }], // of what: the cache has no ttl
  ]
  for (const [type, options] of refused) {
    assert.throws(() => new Fetcher(cache, options), (error) => error.constructor === type, JSON.stringify(options))
  }
  assert.throws(() => new Fetcher({}), BadArgumentError)
})
