import { BadPatternError } from './errors.js'
import { SEGMENT, encodeSegment } from './key.js'

const TERM = new RegExp(`^(?:\\*\\*?|(${SEGMENT})|(?:${SEGMENT})?([*<])(?:${SEGMENT})?)$`)

/** What a pattern asks of one segment, beside the segment itself: see prefix, suffix, affix, between, any and rest. */
export class Term {
  constructor(text) {
    this.text = text
    Object.freeze(this)
  }

  toString() {
    return this.text
  }
}

/** Matches any one segment. */
export const any = new Term('*')
/** Matches zero or more segments. It must be the last term. */
export const rest = new Term('**')
/** Matches every segment that starts so. */
export const prefix = (start) => affix(start, '')
/** Matches every segment that ends so. */
export const suffix = (end) => affix('', end)

/** Matches every segment that starts with start and, behind that, ends with end. One of the two may be empty. */
export function affix(start, end) {
  const texts = [literal(start), literal(end)]
  // Alone it would be any: a form that was left empty must not mean all.
  if (texts.join('') === '') throw new BadPatternError('*', 'a prefix or suffix is empty')
  return new Term(texts.join('*'))
}

/** Matches the segments at or after from and before to, in byte order. One of the two may be empty. */
export function between(from, to) {
  return new Term(`${literal(from)}<${literal(to)}`)
}

function literal(part) {
  const [encoded, reason] = encodeSegment(part)
  if (encoded === undefined) throw new BadPatternError('', `a part of it ${reason}`)
  return encoded
}

/**
 * A pattern of its terms: what is no Term is a segment that must be there just so. No value can hold a wildcard or a
 * colon then, whoever sends it.
 */
export function pattern(...terms) {
  const texts = terms.map((term, i) => {
    const text = term instanceof Term ? term.text : literal(term)
    if (text === '') throw new BadPatternError(terms.join(':'), `term ${i + 1} is empty`)
    return text
  })
  const text = texts.join(':')
  patternTerms(text)
  return text
}

/** The pattern of the record and of all records beneath it. */
export const under = (key) => pattern(...key, rest)

/** In the place of a pattern: the leases of the keys that it matches. Results name a lease by its key. */
export class Leases {
  constructor(pattern) {
    this.pattern = pattern
  }
}

/** The terms of match.lua for a pattern such as user:*:session:**; BadPatternError for any other text. */
export function patternTerms(text) {
  if (text instanceof Leases) return leaseTerms(patternTerms(text.pattern))
  if (typeof text !== 'string') throw new BadPatternError(typeof text, 'a pattern is a text')
  return text.split(':').map((part, i, parts) => {
    const term = TERM.exec(part)
    const [from, to] = part.split('<')
    if (!term || part === '<') throw new BadPatternError(text, `term ${i + 1} is none`)
    if (part === '**' && i < parts.length - 1) throw new BadPatternError(text, `term ${i + 1}, **, is not last`)
    if (to && from >= to) throw new BadPatternError(text, `term ${i + 1}, a range, ends before it begins`)
    const [, literal, wildcard] = term
    return (literal ? '=' : part === '*' || !wildcard ? '' : wildcard === '*' ? '^' : '[') + part
  })
}

function leaseTerms(terms) {
  const [first, ...others] = terms
  if (first === '**') return ['^!*', first]
  if (first === '*') return ['^!*', ...others]
  return [`${first[0]}!${first.slice(1)}`, ...others]
}
