// Wildkey from Node: records under hierarchical keys in Redis, found by wildcard.
//
//   const client = await createClient().connect()
//   const cache = new Wildkey(client, { namespace: 'app', ttl: 86_400_000 })
//   await cache.put({ key: ['user', 42, 'session', 'abc'], value: 'laptop' })
//   for await (const { key, value } of cache.match('user:42:session:*')) …
//
// The work is done by the Lua scripts in scripts/, which any number of clients
// in any language share. A key is a list of segments: strings (sent as UTF-8),
// integers or Buffers. What is read is Buffers. Times are whole milliseconds.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { RESP_TYPES } from 'redis'

/** In the place of a ttl: the record never expires. */
export const NO_EXPIRY = 0

/** Conditions of a record: what must be true for a put to write anything. */
export const ABSENT = '-' // there is no live record
export const PRESENT = '+' // there is a live record
/** There is a live record with just this value. */
export const equal = (value) => Buffer.concat([Buffer.from('='), bytes(value)])

/** The condition of a record does not hold; nothing was written. */
export class ConditionError extends Error {}

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

const MAX_ENCODED = 4096
// One segment in its only spelling: escaped is all that must be, and nothing else.
const SEGMENT = '(?:[A-Za-z0-9._~-]|%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+'
const KEY = new RegExp(`^${SEGMENT}(?::${SEGMENT})*$`)
const TERM = new RegExp(`^(?:\\*\\*?|(${SEGMENT})(\\*?))$`)

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
    if (!term || (part === '**' && i < parts.length - 1)) throw new RangeError(`bad pattern: ${pattern}: term ${i + 1}`)
    const [, text, star] = term
    return text ? (star ? '^' : '=') + text : part
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

/** The hash tag that all Redis keys of a namespace, or of one shard of it, begin with. */
export const hashTag = (namespace, shard) => `{${encodeKey([namespace])}${shard === undefined ? '' : `#${shard}`}}`

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
 * client. With preloaded, scripts are never loaded; with readOnly, as on a replica, stale index entries are left alone.
 */
export class Wildkey {
  #client
  #indexes
  #prefix
  #scripts
  #options
  #evalRO = 'EVALSHA_RO'

  constructor(client, options = {}) {
    this.#options = {
      namespace: 'cache',
      maxRecords: 250,
      pageLimit: 500,
      pageReads: 1_000,
      pageBytes: 1 << 20,
      ...options,
    }
    const tag = hashTag(this.#options.namespace, this.#options.shard)
    this.#client = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
    this.#indexes = [`${tag}/keys`, `${tag}/expiry`]
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
    if (records.length === 0) return
    const args = records.flatMap(({ value, ttl, condition }) => [bytes(value), this.#ttl(ttl), bytes(condition ?? '*')])
    const written = await this.call('put', this.#names(records.map(({ key }) => key)), args)
    if (written < 0) {
      throw new ConditionError(`the condition of record ${-written} does not hold; nothing was written`)
    }
  }

  /** The value of the record, or null. */
  get(key) {
    return this.#client.sendCommand(['GET', this.#prefix + encodeKey(key)])
  }

  /** Deletes the records, all at once, and returns how many of them existed. */
  async delete(...keys) {
    return keys.length === 0 ? 0 : this.call('delete', this.#names(keys), ['count'])
  }

  /** Gives those of the records that live a new ttl, all at once, and returns how many they are. */
  async touch(ttl, ...keys) {
    return keys.length === 0 ? 0 : this.call('touch', this.#names(keys), Array(keys.length).fill(this.#ttl(ttl)))
  }

  /** Iterates over the records that match, { key, value }, in byte order of their encoded keys, page by page. */
  async *match(pattern) {
    for await (const results of this.#pages('values', pattern)) {
      for (let i = 0; i < results.length; i += 2) {
        const key = keyOrNull(results[i])
        if (key) yield { key, value: results[i + 1] }
      }
    }
  }

  /** match without the values: by the index alone, where an evicted record may still be. */
  async *matchKeys(pattern) {
    for await (const results of this.#pages('keys', pattern)) {
      for (const encoded of results) {
        const key = keyOrNull(encoded)
        if (key) yield key
      }
    }
  }

  /** Calls a script with these KEYS and ARGV by its digest, and once more after loading it if it was missing. */
  async call(script, keys, args) {
    try {
      return await this.#evalsha(script, keys, args)
    } catch (error) {
      if (!error.message.startsWith('NOSCRIPT')) throw error
      if (this.#options.preloaded) throw this.#missing(script)
      await this.#provide(script)
      return this.#evalsha(script, keys, args)
    }
  }

  async #evalsha(script, keys, args) {
    const words = [this.#scripts[script].sha1, String(keys.length), ...keys, ...args]
    if (script !== 'match') return this.#client.sendCommand(['EVALSHA', ...words])
    const sent = this.#evalRO // which another call may change before the reply
    try {
      // match.lua never writes: replicas and users without write permission run it.
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

  async *#pages(want, pattern) {
    const { pageLimit, pageReads, pageBytes, readOnly } = this.#options
    const bounds = [pageLimit, pageReads, pageBytes].map(String)
    const terms = patternTerms(pattern)
    let cursor = Buffer.alloc(0)
    do {
      const [next, , stale, results] = await this.call('match', this.#indexes, [want, cursor, ...bounds, ...terms])
      if (stale.length > 0 && !readOnly) {
        const suspects = stale.map((member) => Buffer.concat([Buffer.from(this.#prefix), member]))
        // The page is right without this, and the next one to meet these entries asks again.
        await this.call('sweep', [...this.#indexes, ...suspects], ['0']).catch(() => {})
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

  #names(keys) {
    if (keys.length > this.#options.maxRecords) {
      throw new RangeError(`${keys.length} records in one call; maxRecords is ${this.#options.maxRecords}`)
    }
    return [...this.#indexes, ...keys.map((key) => this.#prefix + encodeKey(key))]
  }

  #ttl(ttl = this.#options.ttl) {
    if (!Number.isSafeInteger(ttl) || ttl < 0) {
      throw new RangeError(`a ttl is whole milliseconds or NO_EXPIRY, not ${ttl}`)
    }
    return String(ttl)
  }
}

function keyOrNull(encoded) {
  const text = encoded.toString('latin1')
  // What is no encoded key was not written by a client of Wildkey.
  return KEY.test(text) && text.length <= MAX_ENCODED ? decodeKey(text) : null
}
