// Wildkey from Node: records under hierarchical keys in Redis, found by wildcard. See README.md.
//
//   const client = await createClient().connect()
//   const cache = new Wildkey(client, { namespace: 'app', ttl: 86_400_000 })
//   await cache.put({ key: ['user', 42, 'session', 'abc'], value: 'laptop' })
//   for await (const { key, value } of cache.match('user:42:session:*')) …
//
// The work is done by the Lua scripts in scripts/, which any number of clients in any language share.

export { Wildkey } from './lib/cache.js'
export {
  BadArgumentError,
  BadPatternError,
  ConditionError,
  CrossShardError,
  EachError,
  EncodingError,
  InvalidKeyError,
  InvalidTtlError,
  ScriptError,
} from './lib/errors.js'
export { Fetcher } from './lib/fetch.js'
export { Lease, decodeKey, encodeKey, hashTag, shard } from './lib/key.js'
export { absent, equal, equalSHA1, keep, never, present } from './lib/operation.js'
export { Leases, Term, affix, any, between, pattern, patternTerms, prefix, rest, suffix, under } from './lib/pattern.js'
export { readScripts } from './lib/scripts.js'
