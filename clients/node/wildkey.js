// Wildkey from Node: records under hierarchical keys in Redis, found by wildcard.
//
//   const client = await createClient().connect()
//   const cache = new Wildkey(client, { namespace: 'app', ttl: 86_400_000 })
//   await cache.put({ key: ['user', 42, 'session', 'abc'], value: 'laptop' })
//   for await (const { key, value } of cache.match('user:42:session:*')) …
//
// The work is done by the Lua scripts in scripts/, which any number of clients
// in any language share. A key is a list of segments: strings (sent as UTF-8),
// integers or Buffers. What is read is Buffers. A ttl is whole milliseconds
// above 0, or NO_EXPIRY.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { RESP_TYPES } from 'redis'

/** In the place of a ttl: the record never expires. */
export const NO_EXPIRY = 'never'
/** In the place of a record's ttl: leave the time that the record has left. It must be live. */
export const KEEP_TTL = 'keep'

/** Conditions: what must be true of a record for a call to write anything. */
export const ABSENT = '-' // there is no live record
export const PRESENT = '+' // there is a live record
/** There is a live record with just this value. */
export const equal = (value) => Buffer.concat([Buffer.from('='), bytes(value)])
/** There is a live record whose value has this SHA-1, in lower-case hexadecimal. */
export const equalSHA1 = (digest) => `#${digest}`

/** A condition does not hold, or a ttl is to be kept of a record that is not live; nothing was written. */
export class ConditionError extends Error {
  constructor(index, key) {
    super(`the condition of ${encodeKey(key)}, number ${index + 1} of the call, does not hold`)
    this.index = index // of the record or operation in the call, from 0
    this.key = key
  }
}

/** A script is not what SHA1SUMS says, or is not on the server and may not be loaded. */
export class ScriptError extends Error {}

function bytes(value) {
  if (typeof value === 'string') {
    // Buffer.from would replace half a surrogate pair, and make one key of two.
    if (!value.isWellFormed()) throw new RangeError(`has no UTF-8: ${JSON.stringify(value.slice(0, 100))}`)
    return Buffer.from(value)
  }
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return Buffer.from(String(value))
  if (value instanceof Uint8Array) return Buffer.from(value)
  throw new TypeError(`neither a string, an integer nor a Buffer: ${String(value)}`)
}

function ttlArgument(ttl) {
  if (ttl === NO_EXPIRY) return ttl
  if (!Number.isSafeInteger(ttl) || ttl <= 0 || ttl >= 1e15) {
    throw new RangeError(`a ttl is whole milliseconds above 0 or NO_EXPIRY, not ${ttl}`)
  }
  return String(ttl)
}

const MAX_ENCODED = 4096
// One segment in its only spelling: escaped is all that must be, and nothing else.
const SEGMENT = '(?:[A-Za-z0-9._~-]|%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+'
const KEY = new RegExp(`^${SEGMENT}(?::${SEGMENT})*$`)
const TERM = new RegExp(`^(?:\\*\\*?|(${SEGMENT})|(?:${SEGMENT})?([*<])(?:${SEGMENT})?)$`)

const encodeSegment = (segment) =>
  bytes(segment)
    .toString('latin1')
    .replace(/[^A-Za-z0-9._~-]/g, (byte) => '%' + byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0'))

const decodeSegment = (encoded) =>
  Buffer.from(encoded.replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1')

/** The encoded key; RangeError if it has no segment, an empty one, one without UTF-8, or is too long. */
export function encodeKey(key) {
  if (!Array.isArray(key)) throw new TypeError('a key is a list of segments')
  const segments = key.map(encodeSegment)
  const encoded = segments.join(':')
  if (segments.length === 0 || segments.includes('') || encoded.length > MAX_ENCODED) {
    throw new RangeError(`invalid key: ${encoded.slice(0, 100)}`)
  }
  return encoded
}

/** The segments, as Buffers; RangeError for any text that encodeKey does not return. */
export function decodeKey(encoded) {
  if (encoded.length > MAX_ENCODED || !KEY.test(encoded)) {
    throw new RangeError(`not an encoded key: ${encoded.slice(0, 100)}`)
  }
  return encoded.split(':').map(decodeSegment)
}

/** The terms of match.lua for a pattern such as user:*:session:**; or RangeError. */
export function patternTerms(pattern) {
  return pattern.split(':').map((part, i, parts) => {
    const term = TERM.exec(part)
    if (!term || part === '<' || (part === '**' && i < parts.length - 1)) throw new RangeError(`bad pattern: ${pattern}: term ${i + 1}`)
    const [, literal, wildcard] = term
    return (literal ? '=' : part === '*' || !wildcard ? '' : wildcard === '*' ? '^' : '[') + part
  })
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1
  return byte
})

// zlib.crc32 came with Node 20.15 and 22.2.
function crc32(buffer) {
  let crc = ~0
  for (const byte of buffer) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff]
  return ~crc >>> 0
}

/** The shard of a key: the CRC-32 of its leading segments, encoded, modulo shards. */
export const shard = (key, shards, leading) => crc32(Buffer.from(encodeKey(key.slice(0, leading)))) % shards

/** The hash tag that all Redis keys of a namespace, or of one of its shards, begin with. */
export const hashTag = (namespace, shard = 0, shards = 1, leading = 1) =>
  `{${encodeKey([namespace])}${shards > 1 ? `#${shard}/${shards}/${leading}` : ''}}`

/**
 * Sources and digests of the scripts by name, as SHA1SUMS lists them. Without a directory, scripts/ is looked for
 * beside this file, and then where Wildkey's own repository has it.
 */
export function readScripts(directory) {
  const here = dirname(fileURLToPath(import.meta.url))
  const candidates = directory ? [directory] : [join(here, 'scripts'), join(here, '..', '..', 'scripts')]
  const found = candidates.find((path) => existsSync(join(path, 'SHA1SUMS')))
  if (!found) throw new ScriptError(`no SHA1SUMS in ${candidates.join(' or ')}`)
  const scripts = {}
  for (const line of readFileSync(join(found, 'SHA1SUMS'), 'utf8').trim().split('\n')) {
    const [sha1, file] = line.split(/\s+/)
    const source = readFileSync(join(found, file))
    if (createHash('sha1').update(source).digest('hex') !== sha1) {
      throw new ScriptError(`${join(found, file)} is not what SHA1SUMS says`)
    }
    scripts[file.replace(/\.lua$/, '')] = { source, sha1 }
  }
  return scripts
}

/**
 * A namespace of records on a Redis server. It sends nothing until it is used, and neither connects nor closes its
 * client. Of a namespace with several shards it is one: number shard of so many shards, which the first shardSegments
 * of a key choose. With preloaded, scripts are never loaded. With leaveStale, as for a user who may not write, pages
 * leave stale index entries alone.
 */
export class Wildkey {
  #client
  #index
  #prefix
  #scripts
  #options
  #evalRO = 'EVALSHA_RO'

  constructor(client, options = {}) {
    this.#options = {
      namespace: 'cache',
      shards: 1,
      shardSegments: 1,
      callRecords: 250,
      pageLimit: 500,
      pageReads: 1_000,
      callBytes: 1 << 20,
      ...options,
    }
    const { namespace, ttl, shards, shardSegments, shard = shards === 1 ? 0 : undefined } = this.#options
    if (!(Number.isInteger(shard) && shard >= 0 && shard < shards && shardSegments >= 1)) {
      throw new RangeError(`there is no shard ${shard} of ${shards} shards by ${shardSegments} segments`)
    }
    if (ttl !== undefined) ttlArgument(ttl)
    const tag = hashTag(namespace, shard, shards, shardSegments)
    this.#client = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
    this.#index = `${tag}/keys`
    this.#prefix = `${tag}:`
    this.#scripts = readScripts(this.#options.scripts)
  }

  /** Loads all scripts, or with preloaded sees that they are there. Calls load what they need anyway. */
  async load() {
    for (const script of Object.keys(this.#scripts)) await this.#provide(script)
  }

  /**
   * Writes the records, { key, value, ttl, condition }, all of them or none. ConditionError: a condition does not hold.
   */
  async put(...records) {
    await this.apply(...records)
  }

  /**
   * Does all of the operations, each on another record, or nothing, and returns how many records were put, touched or
   * deleted. An operation is a record, which is put, or
   *
   *   { op: 'touch', key, ttl, condition }   gives the record, if it is live, a new ttl
   *   { op: 'delete', key, condition }       deletes the record, if it is live
   *   { op: 'check', key, condition }        only tests the condition
   *
   * ConditionError: a condition does not hold.
   */
  async apply(...operations) {
    if (operations.length === 0) return 0
    const args = operations.flatMap((operation) => this.#arguments(operation))
    const done = await this.call('put', this.#names(operations.map(({ key }) => key)), args)
    if (done < 0) throw new ConditionError(-done - 1, operations[-done - 1].key)
    return done
  }

  /** The value of the record, or null. */
  get(key) {
    return this.#client.sendCommand(['GET', this.#name(key)])
  }

  /** Deletes the records, all at once, and returns how many of them were live. */
  async delete(...keys) {
    return keys.length === 0 ? 0 : this.call('delete', this.#names(keys), ['count'])
  }

  /** Deletes the record and returns the value that it had, or null. Of several callers one gets it. */
  async take(key) {
    const [value] = await this.call('delete', this.#names([key]), ['values'])
    return value
  }

  /** Gives those of the records that live a new ttl, all at once, and returns how many they are. */
  async touch(ttl, ...keys) {
    return this.apply(...keys.map((key) => ({ op: 'touch', key, ttl })))
  }

  /** Iterates over the records that match, { key, value }, in byte order of their encoded keys, page by page. */
  async *match(pattern) {
    for await (const results of this.#pages('values', pattern, this.#options.pageLimit)) {
      for (let i = 0; i < results.length; i += 2) {
        const key = keyOrNull(results[i])
        if (key) yield { key, value: results[i + 1] }
      }
    }
  }

  /** match with the ttl that each record has left, { key, value, ttl }: milliseconds or NO_EXPIRY. */
  async *matchRecords(pattern) {
    for await (const results of this.#pages('records', pattern, this.#options.pageLimit)) {
      for (let i = 0; i < results.length; i += 3) {
        const key = keyOrNull(results[i])
        const left = results[i + 2]
        if (key) yield { key, value: results[i + 1], ttl: left < 0 ? NO_EXPIRY : Math.max(left, 1) }
      }
    }
  }

  /** match without the values. */
  async *matchKeys(pattern) {
    for await (const results of this.#pages('keys', pattern, this.#options.pageLimit)) {
      yield* results.map(keyOrNull).filter(Boolean)
    }
  }

  /** How many records match. */
  async count(pattern) {
    let total = 0
    for await (const n of this.#pages('count', pattern, this.#options.pageReads)) total += n
    return total
  }

  /** Deletes the records that match, callRecords at a time, and returns how many of them were live. */
  async deleteMatch(pattern) {
    let total = 0
    for await (const names of this.#indexed(pattern)) total += await this.call('delete', names, ['count'])
    return total
  }

  /** Gives the records that match a new ttl, callRecords at a time, and returns how many they were. */
  async touchMatch(ttl, pattern) {
    const args = this.#arguments({ op: 'touch', ttl })
    let total = 0
    for await (const names of this.#indexed(pattern)) {
      total += await this.call('put', names, Array(names.length - 1).fill(args).flat())
    }
    return total
  }

  /** Calls a script with these KEYS and ARGV by its digest, and once more after loading it if it was missing. */
  async call(script, keys, args, readOnly = false) {
    try {
      return await this.#evalsha(script, keys, args, readOnly)
    } catch (error) {
      if (!error.message.startsWith('NOSCRIPT')) throw error
      if (this.#options.preloaded) throw this.#missing(script)
      await this.#provide(script)
      return this.#evalsha(script, keys, args, readOnly)
    }
  }

  async #evalsha(script, keys, args, readOnly) {
    const words = [this.#scripts[script].sha1, String(keys.length), ...keys, ...args]
    // Replicas, and users who may not write, run EVALSHA_RO. Another call may change #evalRO before the reply.
    const sent = readOnly ? this.#evalRO : 'EVALSHA'
    try {
      return await this.#client.sendCommand([sent, ...words])
    } catch (error) {
      if (!error.message.includes('unknown command') || sent === 'EVALSHA') throw error
      this.#evalRO = 'EVALSHA' // Redis before 7.0
      return this.#client.sendCommand(['EVALSHA', ...words])
    }
  }

  async #provide(script) {
    const { source, sha1 } = this.#scripts[script]
    if (this.#options.preloaded) {
      const [exists] = await this.#client.sendCommand(['SCRIPT', 'EXISTS', sha1])
      if (!exists) throw this.#missing(script)
    } else if (String(await this.#client.sendCommand(['SCRIPT', 'LOAD', source])) !== sha1) {
      throw new ScriptError(`the server has another digest for ${script}.lua than ${sha1}`)
    }
  }

  #missing(script) {
    return new ScriptError(`not on the server: ${script}.lua ${this.#scripts[script].sha1}`)
  }

  async *#pages(want, pattern, limit) {
    const { pageReads, callBytes, leaveStale } = this.#options
    const args = [...[limit, pageReads, callBytes].map(String), ...patternTerms(pattern)]
    const readOnly = want !== 'index' // which is read for what will be written, and so from a master
    let cursor = Buffer.alloc(0)
    do {
      const [next, , stale, results] = await this.call('match', [this.#index], [want, cursor, ...args], readOnly)
      if (stale.length > 0 && !leaveStale) {
        // The page is right without this, and the next one to meet these entries asks again.
        await this.call('sweep', [this.#index, ...this.#members(stale)], []).catch(() => {})
      }
      yield results
      if (next.length > 0 && cursor.length > 0) {
        if (next.equals(cursor) || next.subarray(1).compare(cursor.subarray(1)) < 0) {
          throw new Error(`the cursor ${next} does not go on from ${cursor}`)
        }
      }
      cursor = next
    } while (cursor.length > 0)
  }

  // The KEYS of calls that change what matches, live or not: the scripts find that out.
  async *#indexed(pattern) {
    for await (const results of this.#pages('index', pattern, this.#options.callRecords)) {
      const members = results.filter(keyOrNull)
      if (members.length > 0) yield [this.#index, ...this.#members(members)]
    }
  }

  #members(members) {
    return members.map((member) => Buffer.concat([Buffer.from(this.#prefix), member]))
  }

  #name(key) {
    const name = this.#prefix + encodeKey(key)
    const { shards, shardSegments, shard: ours } = this.#options
    if (shards > 1 && shard(key, shards, shardSegments) !== ours) {
      throw new RangeError(`the key lies in another shard than ${name}`)
    }
    return name
  }

  #names(keys) {
    if (keys.length > this.#options.callRecords) {
      throw new RangeError(`${keys.length} records in one call; callRecords is ${this.#options.callRecords}`)
    }
    return [this.#index, ...keys.map((key) => this.#name(key))]
  }

  // The ARGV of put.lua: action, condition, value.
  #arguments({ op = 'put', value, ttl, condition = '*' }) {
    switch (op) {
      case 'put': {
        const time = ttl === undefined ? this.#options.ttl : ttl
        return [time === KEEP_TTL ? time : ttlArgument(time), bytes(condition), bytes(value)]
      }
      case 'touch':
        return [`touch ${ttlArgument(ttl)}`, bytes(condition), '']
      case 'delete':
      case 'check':
        return [op, bytes(condition), '']
      default:
        throw new RangeError(`op is put, touch, delete or check, not ${op}`)
    }
  }
}

function keyOrNull(encoded) {
  const text = encoded.toString('latin1')
  // What is no encoded key was not written by a client of Wildkey.
  return KEY.test(text) && text.length <= MAX_ENCODED ? decodeKey(text) : null
}
