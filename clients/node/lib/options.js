import { BadArgumentError } from './errors.js'
import { describe } from './key.js'
import { ttlArgument } from './operation.js'

const DEFAULTS = {
  namespace: 'cache',
  ttl: undefined,
  encoding: undefined,
  preloaded: false,
  leaveStale: false,
  declaredKeys: false,
  callRecords: 250,
  callBytes: 1 << 20,
  pageLimit: 500,
  pageReads: 1_000,
  shards: 1,
  shardSegments: 1,
  scripts: undefined,
}

// The largest that each of these may be; the smallest is 1.
export const LARGEST = {
  callRecords: 10_000,
  callBytes: 999_999_999,
  pageLimit: 99_999,
  pageReads: 99_999,
  shards: 16_384,
  shardSegments: Number.MAX_SAFE_INTEGER,
}

/** The options of a cache, with the defaults of those that are not given. */
export function checkOptions(options) {
  checkNames(options, Object.keys(DEFAULTS))
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const checked = { ...DEFAULTS, ...Object.fromEntries(given) }
  if (checked.ttl !== undefined) ttlArgument(checked.ttl, 'the ttl of a cache')
  checkEncoding(checked.encoding)
  for (const [name, largest] of Object.entries(LARGEST)) checkWhole(name, checked[name], largest)
  return checked
}

/** The options of a verb, none of which has another name than these: one that is misspelled would not be heeded. */
export function checkNames(options, names) {
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw new BadArgumentError(`the options are ${describe(options)}, not an object`)
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new BadArgumentError(`there is no option ${name}; there is ${names.join(', ')}`)
  }
  return options
}

export function checkWhole(name, value, largest) {
  if (Number.isSafeInteger(value) && value >= 1 && value <= largest) return
  throw new BadArgumentError(`${name} is ${describe(value)}, but must be a whole number from 1 to ${largest}`)
}

export function checkEncoding(encoding) {
  if (encoding === undefined || encoding === 'utf8') return encoding
  throw new BadArgumentError(`the encoding is ${describe(encoding)}, but is utf8, or left out for Buffers`)
}
