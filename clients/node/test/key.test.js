import assert from 'node:assert/strict'
import test from 'node:test'

import {
  BadPatternError,
  EncodingError,
  InvalidKeyError,
  affix,
  any,
  between,
  decodeKey,
  encodeKey,
  pattern,
  patternTerms,
  prefix,
  rest,
  suffix,
  under,
} from '../wildkey.js'

test('segments of each type', () => {
  assert.equal(encodeKey(['user', 42, 'é:*']), 'user:42:%C3%A9%3A%2A')
  assert.equal(encodeKey([-0, -7, Number.MAX_SAFE_INTEGER]), '0:-7:9007199254740991')
  assert.equal(encodeKey([2n ** 64n]), '18446744073709551616')
  assert.equal(encodeKey([Buffer.from([0, 255]), Uint8Array.of(65, 58)]), '%00%FF:A%3A')
  assert.equal(encodeKey([Buffer.from('xaby').subarray(1, 3)]), 'ab', 'a view of other bytes')
})

test('a key that no record can have names its segment', () => {
  const refused = [
    [['a', 1.5], 1, 'segment 2 is 1.5'],
    [['a', NaN], 1, 'segment 2 is NaN'],
    [[Infinity], 0, 'segment 1 is Infinity'],
    [[2 ** 53], 0, 'segment 1 is 9007199254740992'],
    [['a', 'b', null], 2, 'segment 3 is null'],
    [['a', undefined], 1, 'segment 2 is undefined'],
    [[true], 0, 'segment 1 is true'],
    [[{}], 0, 'segment 1 is an object'],
    [[Object.create(null)], 0, 'segment 1 is an object'],
    [[['a']], 0, 'segment 1 is a list'],
    [[Symbol('a')], 0, 'segment 1 is a symbol'],
    [[() => 'a'], 0, 'segment 1 is a function'],
    [[new Date(0)], 0, 'segment 1 is an object'],
    [[Uint16Array.of(1)], 0, 'segment 1 is an object'],
    [['a', ''], 1, 'segment 2 is empty'],
    [[new Uint8Array(0)], 0, 'segment 1 is empty'],
    [['a', '\ud800'], 1, 'segment 2 has no UTF-8'],
    [Array(2), 0, 'segment 1 is undefined'], // a list of holes
    [[], undefined, 'it has no segment'],
    ['user', undefined, 'it is a string, not a list'],
    [undefined, undefined, 'it is undefined, not a list'],
    [['a'.repeat(4097)], undefined, 'it has 4097 bytes'],
  ]
  for (const [key, segment, message] of refused) {
    assert.throws(() => encodeKey(key), (error) => {
      assert.ok(error instanceof InvalidKeyError && error instanceof RangeError)
      assert.ok(error.message.includes(message), error.message)
      assert.equal(error.key, key)
      assert.equal(error.segment, segment)
      return true
    })
  }
})

test('a key is read as bytes or as text', () => {
  assert.deepEqual(decodeKey('%FF:a'), [Buffer.from([255]), Buffer.from('a')])
  assert.deepEqual(decodeKey('%C3%A9:a', 'utf8'), ['é', 'a'])
  assert.deepEqual(decodeKey('%EF%BB%BFa', 'utf8'), ['\ufeffa'], 'a byte order mark is a character like any')
  assert.deepEqual(['a', 'b'].map(decodeKey), [[Buffer.from('a')], [Buffer.from('b')]], 'what map adds is no encoding')
  assert.throws(() => decodeKey('a:%FF', 'utf8'), (error) => {
    return error instanceof EncodingError && error.encoded === 'a:%FF' && error.bytes.equals(Buffer.from([255]))
  })
})

test('a pattern of terms holds what it is given', () => {
  assert.equal(pattern('user', 42, rest), 'user:42:**')
  assert.equal(pattern('a:*', any, prefix('x*'), suffix('@b.c'), affix('i', '.png')), 'a%3A%2A:*:x%2A*:*%40b.c:i*.png')
  assert.equal(pattern(between('2024-03', '2024-06'), between('', 9n)), '2024-03<2024-06:<9')
  assert.equal(under(['user', Buffer.from([255])]), 'user:%FF:**')
  assert.deepEqual(patternTerms(pattern('*')), ['=%2A'])
})

test('a pattern that means something else is refused', () => {
  const refused = [
    () => pattern(),
    () => pattern(''),
    () => pattern('a', undefined),
    () => pattern('a', 1.5),
    () => pattern(rest, 'a'),
    () => pattern(between('b', 'a')),
    () => pattern(between('', '')),
    () => prefix(''),
    () => suffix(undefined),
    () => under([]) === '**' && pattern(''),
    () => patternTerms('b<a'),
    () => patternTerms('**:a'),
    () => patternTerms(['a']),
    () => patternTerms('a:%2d'),
  ]
  for (const make of refused) assert.throws(make, BadPatternError, String(make))
})
