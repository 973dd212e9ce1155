/** A key that no record can have. segment is the place of the segment that is wrong, from 0, where it is one. */
export class InvalidKeyError extends RangeError {
  constructor(reason, key, segment = undefined) {
    super(`invalid key: ${segment === undefined ? '' : `segment ${segment + 1} `}${reason}`)
    this.name = 'InvalidKeyError'
    this.key = key
    this.segment = segment
  }
}

/** A time to live that is none: 0, a fraction, NaN, or not given at all. */
export class InvalidTtlError extends RangeError {
  constructor(ttl, what, key = undefined) {
    super(`${what} is whole milliseconds above 0, or never, and not ${String(ttl)}`)
    this.name = 'InvalidTtlError'
    this.ttl = ttl
    this.key = key
  }
}

/** A text or a list of terms that is no pattern. */
export class BadPatternError extends RangeError {
  constructor(pattern, reason) {
    super(`bad pattern: ${String(pattern).slice(0, 100)}: ${reason}`)
    this.name = 'BadPatternError'
    this.pattern = pattern
  }
}

/** Another argument that is wrong, found here or by a script. Nothing was written. */
export class BadArgumentError extends RangeError {
  constructor(message, { key = undefined, cause = undefined } = {}) {
    super(message, { cause })
    this.name = 'BadArgumentError'
    this.key = key
  }
}

/** The records of one atomic call lie in several shards. key is the first that lies elsewhere. */
export class CrossShardError extends BadArgumentError {
  constructor(key, tag, other) {
    super(`the records of one atomic call lie in several shards: ${tag} and ${other}`, { key })
    this.name = 'CrossShardError'
  }
}

/** A condition does not hold, or a ttl is to be kept of a record that is not live. Nothing was written. */
export class ConditionError extends Error {
  constructor(index, key, name) {
    super(`the condition of ${name}, number ${index + 1} of the call, does not hold`)
    this.name = 'ConditionError'
    this.index = index // of the record or operation in the call, from 0
    this.key = key
  }
}

/** A script is not what SHA1SUMS says, or is not on the server and may not be loaded. */
export class ScriptError extends Error {
  constructor(message) {
    super(message)
    this.name = 'ScriptError'
  }
}

/** Bytes that are no UTF-8 were to be returned as a string. bytes has them. */
export class EncodingError extends Error {
  constructor(what, encoded, bytes) {
    super(`${what} of ${encoded} is not UTF-8; read it by a cache without an encoding`)
    this.name = 'EncodingError'
    this.encoded = encoded
    this.bytes = bytes
  }
}

/** Not all of the records of putEach, deleteEach or touchEach were written; done says how many were. */
export class EachError extends Error {
  constructor(done, failed, cause, key) {
    super(`${done} records were written and ${failed} were not: ${cause?.message ?? cause}`, { cause })
    this.name = 'EachError'
    this.done = done
    this.failed = failed
    this.key = key // of the first record that was not written
  }
}

// What Redis 6.2 puts before an error that a script has raised, or passed on.
const WRAPPING = /^(?:ERR Error running script .*)?@user_script: ?\d+: -?/

/** The text of an error of the server, as Redis 7 and later have it. */
export const textOf = (error) => String(error?.message ?? error).replace(WRAPPING, '')

/** The first word of an error of the server: OOM, TRYAGAIN and others. */
export const codeOf = (error) => textOf(error).split(' ', 1)[0]
