import { BadArgumentError, EncodingError, InvalidKeyError } from './errors.js'

export const MAX_ENCODED = 4096
// One segment in its only spelling: escaped is all that must be, and nothing else.
export const SEGMENT = '(?:[A-Za-z0-9._~-]|%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+'
const KEY = new RegExp(`^${SEGMENT}(?::${SEGMENT})*$`)

// Buffer.from would replace half of a surrogate pair, and make one key of two.
const hasUtf8 = (text) => text.isWellFormed()

/** The bytes of a value, a condition or a digest. */
export function bytesOf(value, what, key = undefined) {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (typeof value !== 'string') {
    throw new BadArgumentError(`${what} is ${describe(value)}, neither a string nor bytes`, { key })
  }
  if (!hasUtf8(value)) throw new BadArgumentError(`${what} has no UTF-8: half of a surrogate pair`, { key })
  return Buffer.from(value)
}

/** A value in words that are safe to print, whatever it is. */
export function describe(value) {
  if (value === null || ['undefined', 'number', 'bigint', 'boolean'].includes(typeof value)) return String(value)
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

const percentEncode = (bytes) =>
  bytes
    .toString('latin1')
    .replace(/[^A-Za-z0-9._~-]/g, (byte) => '%' + byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0'))

/** In the place of a key: its lease, for Fetcher. clients/README.md says what it is for. */
export class Lease {
  constructor(key) {
    this.key = key
  }
}

/** The encoded key, of a lease that of the key, and what the index has before it. */
export function memberOf(key) {
  return key instanceof Lease ? { encoded: encodeKey(key.key), lead: '!' } : { encoded: encodeKey(key), lead: '' }
}

/** A segment as it is encoded, perhaps empty, or undefined and why it is none. */
export function encodeSegment(segment) {
  if (segment instanceof Uint8Array) return [percentEncode(Buffer.from(segment)), '']
  switch (typeof segment) {
    case 'string':
      if (!hasUtf8(segment)) return [undefined, `has no UTF-8: ${JSON.stringify(segment.slice(0, 100))}`]
      return [percentEncode(Buffer.from(segment)), '']
    case 'bigint':
      return [String(segment), '']
    case 'number':
      if (Number.isSafeInteger(segment)) return [String(segment), '']
      return [undefined, `is ${segment}, not an integer that a number holds exactly`]
    default:
      return [undefined, `is ${describe(segment)}, neither a string, an integer, a bigint nor bytes`]
  }
}

/**
 * The encoded key. A key that no record can have is an InvalidKeyError: with no segment, with an empty one, with one
 * that is neither a string, an integer nor bytes, or too long.
 */
export function encodeKey(key) {
  if (!Array.isArray(key)) throw new InvalidKeyError(`it is ${describe(key)}, not a list of segments`, key)
  if (key.length === 0) throw new InvalidKeyError('it has no segment', key)
  const parts = []
  for (let i = 0; i < key.length; i++) { // a hole in the list is a segment too, which map would leave out
    const [encoded, reason] = encodeSegment(key[i])
    if (!encoded) throw new InvalidKeyError(reason || 'is empty', key, i)
    parts.push(encoded)
  }
  const encoded = parts.join(':')
  if (encoded.length > MAX_ENCODED) {
    throw new InvalidKeyError(`it has ${encoded.length} bytes encoded, 4,096 are allowed`, key)
  }
  return encoded
}

/** Whether a text is the one spelling of a key. */
export const isEncodedKey = (text) => text.length <= MAX_ENCODED && KEY.test(text)

/** The segments, as Buffers or, with the encoding utf8, as strings. What encodeKey does not return is refused. */
export function decodeKey(encoded, encoding = undefined) {
  if (typeof encoded !== 'string' || !isEncodedKey(encoded)) {
    throw new InvalidKeyError(`${String(encoded).slice(0, 100)} is not the spelling of a key`, encoded)
  }
  return encoded.split(':').map((segment) => decodeBytes(decodeSegment(segment), encoding, 'a segment', encoded))
}

const decodeSegment = (encoded) =>
  Buffer.from(encoded.replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1')

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Bytes as the encoding has them. Not one is lost: what is no UTF-8 is an EncodingError. */
export function decodeBytes(bytes, encoding, what, encoded) {
  if (encoding !== 'utf8') return bytes
  try {
    return utf8.decode(bytes)
  } catch {
    throw new EncodingError(what, encoded, bytes)
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1
  return byte
})

// zlib.crc32 came with Node 20.15 and 22.2.
function crc32(text) {
  let crc = ~0
  for (let i = 0; i < text.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ text.charCodeAt(i)) & 0xff]
  return ~crc >>> 0
}

/** The shard of an encoded key: the CRC-32 of its leading segments modulo shards. */
export const shardOfEncoded = (encoded, shards, leading) => crc32(encoded.split(':', leading).join(':')) % shards

/** The shard of a key, of so many that so many of its leading segments choose. */
export const shard = (key, shards, leading = 1) => shardOfEncoded(encodeKey(key), shards, leading)

/** The hash tag that all Redis keys of a namespace, or of one of its shards, begin with. */
export const hashTag = (namespace, shard = 0, shards = 1, leading = 1) =>
  `{${encodeKey([namespace])}${shards > 1 ? `#${shard}/${shards}/${leading}` : ''}}`
