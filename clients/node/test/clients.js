// The servers of the tests and clients of each library, connected to them.
//
//   REDIS_URL       a server that the tests may write to; what they write is under a namespace of each test
//   REDIS_RESP      2 or 3, the protocol; 3 if it is not given
//   REDIS_CLUSTER   HOST:PORT of a node of a cluster, for the tests that need one
//   REDIS_SENTINEL  HOST:PORT/NAME of a Sentinel and of the master that it watches

import { randomUUID } from 'node:crypto'
import test from 'node:test'

import ioredis from 'ioredis'
import { createClient, createClientPool, createCluster, createSentinel } from 'redis'

import { Wildkey } from '../wildkey.js'

export const { REDIS_URL, REDIS_CLUSTER, REDIS_SENTINEL } = process.env
const RESP = process.env.REDIS_RESP === '2' ? 2 : 3

if (!REDIS_URL) throw new Error('REDIS_URL names the server that the tests may write to')

const hostAndPort = (address) => {
  const [host, port] = address.split(':')
  return { host, port: Number(port) }
}

export async function nodeRedis(t) {
  const client = createClient({ url: REDIS_URL, RESP })
  await client.connect()
  t.after(() => client.destroy())
  return client
}

export function nodeIoredis(t, options = {}) {
  const client = new ioredis.Redis(REDIS_URL, { protocol: RESP, ...options })
  t.after(() => client.disconnect())
  return client
}

async function nodeRedisPool(t) {
  const pool = createClientPool({ url: REDIS_URL, RESP })
  await pool.connect()
  t.after(() => pool.destroy())
  return pool
}

async function nodeRedisCluster(t) {
  const client = createCluster({ rootNodes: [{ url: `redis://${REDIS_CLUSTER}` }], RESP })
  await client.connect()
  t.after(() => client.destroy())
  return client
}

function ioredisCluster(t) {
  const client = new ioredis.Cluster([hostAndPort(REDIS_CLUSTER)], { redisOptions: { protocol: RESP } })
  t.after(() => client.disconnect())
  return client
}

async function nodeRedisSentinel(t) {
  const [address, name] = REDIS_SENTINEL.split('/')
  const client = createSentinel({ name, sentinelRootNodes: [hostAndPort(address)], RESP })
  await client.connect()
  t.after(() => client.destroy())
  return client
}

function ioredisSentinel(t) {
  const [address, name] = REDIS_SENTINEL.split('/')
  const client = new ioredis.Redis({ sentinels: [hostAndPort(address)], name, protocol: RESP })
  t.after(() => client.disconnect())
  return client
}

const KINDS = {
  redis: nodeRedis,
  'redis pool': nodeRedisPool,
  ioredis: nodeIoredis,
  'ioredis that returns numbers as strings': (t) => nodeIoredis(t, { stringNumbers: true }),
  ...(REDIS_CLUSTER ? { 'redis cluster': nodeRedisCluster, 'ioredis cluster': ioredisCluster } : {}),
  ...(REDIS_SENTINEL ? { 'redis sentinel': nodeRedisSentinel, 'ioredis sentinel': ioredisSentinel } : {}),
}

/** The options of a cache under a namespace that no other test has. */
export const ownNamespace = (options = {}) => ({ namespace: randomUUID(), ttl: 3_600_000, ...options })

/** Runs a test with a cache on each kind of client that there is a server for. */
export function onEachClient(name, options, run) {
  for (const [kind, connect] of Object.entries(KINDS)) {
    test(`${name}: ${kind}`, async (t) => {
      const client = await connect(t)
      await run(t, new Wildkey(client, ownNamespace(options)))
    })
  }
}

/** Runs a test with a cache, and what makes others of the same namespace on connections of their own. */
export function onServer(name, options, run) {
  test(name, async (t) => {
    const own = ownNamespace(options)
    const cacheOf = async (others = {}) => new Wildkey(await nodeRedis(t), { ...own, ...others })
    await run(t, await cacheOf(), cacheOf)
  })
}

/** What an iterator yields, in a list. */
export async function all(iterator) {
  const items = []
  for await (const item of iterator) items.push(item)
  return items
}
