// Tests wildkey.js on the empty server of REDIS_URL: see "Conformance" in clients/README.md.
//
//   node conformance.js vectors VECTORS.JSON
//   node conformance.js lines NAMESPACE PAGE_LIMIT [preloaded] < LINES

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { isDeepStrictEqual } from 'node:util'

import { createClient, RESP_TYPES } from 'redis'

import {
  ConditionError,
  Lease,
  Leases,
  ScriptError,
  Wildkey,
  decodeKey,
  encodeKey,
  hashTag,
  patternTerms,
  shard,
} from './wildkey.js'

async function checkVectors(client, path) {
  const vectors = JSON.parse(readFileSync(path, 'utf8'))
  const failures = []
  const show = (value) => JSON.stringify(value).slice(0, 200)
  // Bytes are compared in the vectors' own form.
  const expect = (want, got, what) => {
    if (!isDeepStrictEqual(want, got)) failures.push(`${show(what)}: got ${show(got)}, want ${show(want)}`)
  }
  const expectRefused = (call, argument) => {
    try {
      failures.push(`${call.name}(${show(argument)}) is ${show(call(argument))}, not an error`)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
    }
  }

  for (const { segments, encoded } of vectors.keys) {
    expect(encoded, encodeKey(segments.map(bytes)), segments)
    expect(segments, decodeKey(encoded).map(latin1), encoded)
  }
  for (const segments of vectors.refused_segments) expectRefused(encodeKey, segments.map(bytes))
  for (const text of vectors.refused_encoded) expectRefused(decodeKey, text)
  for (const { text, terms } of vectors.patterns) expect(terms, patternTerms(text), text)
  for (const text of vectors.refused_patterns) expectRefused(patternTerms, text)
  for (const row of vectors.shards) {
    const got = shard(row.segments.map(bytes), row.shards, row.leading)
    expect(row.shard, got, row)
    expect(row.tag, hashTag(bytes(row.namespace), got, row.shards, row.leading), row)
  }

  for (const row of vectors.leases) {
    const { shards, leading: shardSegments } = row
    const cache = new Wildkey(client, { namespace: bytes(row.namespace), shards, shardSegments })
    expect(row.lease, cache.leaseName(row.segments.map(bytes)), row)
  }
  for (const { text, terms } of vectors.lease_patterns) expect(terms, patternTerms(new Leases(text)), text)
  for (const { call, operations, keys, arguments: args } of vectors.lease_calls) {
    const cache = new Wildkey(client, { namespace: 'app' })
    const sent = []
    cache.call = async (script, keys, args) => {
      sent.push([script, ...keys, ...args].map((word) => latin1(Buffer.from(word))))
      return 0
    }
    await cache.apply(
      ...operations.map(({ op, lease, segments, ttl, condition, value }) => {
        const key = segments.map(bytes)
        return { op, key: lease ? new Lease(key) : key, ttl: Number(ttl), condition, value }
      }),
    )
    expect([['put', ...keys, ...args]], sent, call)
  }

  const cache = new Wildkey(client)
  const raw = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  if (await raw.dbSize()) throw new Error('the server of REDIS_URL is not empty, and the calls begin with FLUSHALL')
  for (const { case: name, command, reply: want } of vectors.calls) {
    const words = command.map(bytes)
    let got
    try {
      if (command[0] === 'EVALSHA' || command[0] === 'EVALSHA_RO') {
        const first = 3 + Number(command[2])
        got = await cache.call(command[1], words.slice(3, first), words.slice(first), command[0] === 'EVALSHA_RO')
      } else {
        got = await raw.sendCommand(words)
      }
      got = jsonReply(got)
    } catch (error) {
      // The server may say more behind it: in which line of the script.
      got = { error: error.message.startsWith(want?.error) ? want.error : error.message }
    }
    expect(want, got, [name, command])
  }
  return failures
}

const bytes = (text) => Buffer.from(text, 'latin1')
const latin1 = (buffer) => buffer.toString('latin1')

function jsonReply(reply) {
  if (Buffer.isBuffer(reply)) return latin1(reply)
  return Array.isArray(reply) ? reply.map(jsonReply) : reply
}

const percentEncode = (value) => latin1(value).replace(/[^A-Za-z0-9._~-]/g, (byte) => encodeKey([bytes(byte)]))
const percentDecode = (text) => bytes(text.replace(/%../g, (escape) => latin1(decodeKey(escape)[0])))

async function* runLines(client, namespace, pageLimit, preloaded) {
  const cache = new Wildkey(client, {
    namespace: percentDecode(namespace),
    scripts: process.env.WILDKEY_SCRIPTS,
    preloaded: Boolean(preloaded),
    pageLimit: Number(pageLimit),
  })
  const keyOf = (word) => (word.startsWith('!') ? new Lease(decodeKey(word.slice(1))) : decodeKey(word))
  const patternOf = (word) => (word.startsWith('!') ? new Leases(word.slice(1)) : word)
  const time = (word) => (/^-?[0-9]+$/.test(word) ? Number(word) : word)
  const test = (word) => word && Buffer.concat([Buffer.from(word[0]), percentDecode(word.slice(1))])
  /** @returns {any} */
  const operation = (op, key, ...words) => {
    if (op === 'put' || op === 'touch') {
      const [ttl, condition, value = ''] = words
      return { op, key: keyOf(key), ttl: time(ttl), condition: test(condition), value: percentDecode(value) }
    }
    return { op, key: keyOf(key), condition: test(words[0]) }
  }
  const equals = (value) => (value === null ? 'none' : `=${percentEncode(value)}`)
  const verbs = {
    async *put(...words) {
      await cache.put(operation('put', ...words))
      yield 'ok'
    },
    async *apply(...words) {
      yield await cache.apply(...words.join(' ').split(';').map((one) => operation(...one.split(' '))))
    },
    async *get(key) {
      yield equals(await cache.get(keyOf(key)))
    },
    async *take(key) {
      yield equals(await cache.take(keyOf(key)))
    },
    async *delete(...keys) {
      yield await cache.delete(...keys.map(keyOf))
    },
    async *touch(ttl, ...keys) {
      yield await cache.touch(time(ttl), ...keys.map(keyOf))
    },
    async *match(pattern) {
      for await (const { key, value } of cache.match(pattern)) yield encodeKey(key) + equals(value)
      yield 'end'
    },
    async *records(pattern) {
      for await (const { key, value, ttl } of cache.match(pattern, { withTtl: true })) {
        yield `${encodeKey(key)}${equals(value)} ${ttl}`
      }
      yield 'end'
    },
    async *keys(pattern) {
      for await (const key of cache.matchKeys(patternOf(pattern))) yield encodeKey(key)
      yield 'end'
    },
    async *count(pattern) {
      yield await cache.count(patternOf(pattern))
    },
    async *'delete-match'(pattern) {
      yield await cache.deleteMatch(patternOf(pattern))
    },
    async *'touch-match'(ttl, pattern) {
      yield await cache.touchMatch(time(ttl), pattern)
    },
    async *load() {
      await cache.load()
      yield 'ok'
    },
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, ...words] = line.split(' ')
    try {
      yield* verbs[verb](...words)
    } catch (error) {
      if (error instanceof ConditionError) yield verb === 'put' ? 'condition' : -1 - error.index
      else if (error instanceof RangeError || error.message.startsWith('BADARG')) yield 'refused'
      else if (error instanceof ScriptError) yield 'error'
      else throw error
    }
  }
}

const [, , mode, ...args] = process.argv
const client = createClient({ url: process.env.REDIS_URL, RESP: process.env.REDIS_RESP === '2' ? 2 : 3 })
await client.connect()
if (mode === 'vectors') {
  const failures = await checkVectors(client, ...args)
  if (failures.length > 0) console.log(failures.join('\n'))
  process.exitCode = failures.length > 0 ? 1 : 0
} else {
  for await (const answer of runLines(client, ...args)) console.log(answer)
}
await client.close()
