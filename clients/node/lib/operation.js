import { BadArgumentError, InvalidTtlError } from './errors.js'
import { bytesOf, describe } from './key.js'

/** In the place of a ttl: the record never expires. */
export const never = 'never'
/** In the place of a record's ttl: leave the time that the record has left. It must be live. */
export const keep = 'keep'

/** Conditions: what must be true of a record for a call to write anything. */
export const absent = '-' // there is no live record
export const present = '+' // there is a live record
/** There is a live record with just this value. */
export const equal = (value) => Buffer.concat([Buffer.from('='), bytesOf(value, 'the value of a condition')])
/** There is a live record whose value has this SHA-1, in lower-case hexadecimal. */
export const equalSHA1 = (digest) => `#${digest}`

/** A ttl as the scripts take it. */
export function ttlArgument(ttl, what, key = undefined) {
  if (ttl === never) return ttl
  // A text of digits is refused too: it comes from a form or a file, and may mean seconds.
  if (!Number.isSafeInteger(ttl) || ttl <= 0 || ttl >= 1e15) throw new InvalidTtlError(ttl, what, key)
  return String(ttl)
}

/** The time that a record has left, for a reply of PTTL. */
export const timeLeft = (milliseconds) => (milliseconds < 0 ? never : Math.max(milliseconds, 1))

/** Action, condition and value of put.lua for an operation. */
export function putArguments(operation, defaultTtl) {
  if (operation === null || typeof operation !== 'object') {
    throw new BadArgumentError(`an operation is ${describe(operation)}, not an object with a key`)
  }
  const { op = 'put', key, value, ttl, condition } = operation
  const tested = condition === undefined ? '*' : bytesOf(condition, 'a condition', key)
  switch (op) {
    case 'put': {
      const time = ttl === undefined ? defaultTtl : ttl
      const action = time === keep ? keep : ttlArgument(time, 'the ttl of a record', key)
      return [action, tested, bytesOf(value, 'a value', key)]
    }
    case 'touch':
      return [`touch ${ttlArgument(ttl, 'the ttl of a touch', key)}`, tested, '']
    case 'check':
      if (condition === undefined) throw new BadArgumentError('a check has no condition', { key })
    // falls through
    case 'delete':
      return [op, tested, '']
    default:
      throw new BadArgumentError(`op is put, touch, delete or check, not ${String(op)}`, { key })
  }
}

/** Whether the operation may change the value of its record. */
export const changes = ({ op = 'put' }) => op === 'put' || op === 'delete'
