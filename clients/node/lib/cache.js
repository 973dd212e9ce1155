import { adapterOf } from './adapters.js'
import { applyEach } from './each.js'
import { BadArgumentError, BadPatternError, ConditionError, CrossShardError } from './errors.js'
import { Finder } from './finder.js'
import { Lease, decodeBytes, decodeKey, describe, encodeKey, memberOf } from './key.js'
import { Layout } from './layout.js'
import { Loader } from './loader.js'
import { never, putArguments, timeLeft, ttlArgument } from './operation.js'
import { LARGEST, checkEncoding, checkNames, checkOptions, checkWhole } from './options.js'
import { Leases, patternTerms } from './pattern.js'
import { readScripts } from './scripts.js'
import { inParallel, sum } from './waiting.js'

/** What caches share that look at the same records, one shard of them or with another encoding. */
class Shared {
  constructor({ adapter, loader, layout, options, only = undefined }) {
    this.adapter = adapter
    this.loader = loader
    this.layout = layout
    this.options = options
    this.only = only // the one shard where patterns look
  }
}

/**
 * A namespace of records on a Redis server or cluster. It sends nothing until it is used, and neither connects nor
 * closes its client.
 */
export class Wildkey {
  #shared
  #adapter
  #loader
  #options
  #layout
  #finder

  constructor(client, options = {}) {
    const shared = client instanceof Shared ? client : share(client, options)
    this.#shared = shared
    this.#adapter = shared.adapter
    this.#loader = shared.loader
    this.#options = shared.options
    this.#layout = shared.layout
    this.#finder = new Finder(shared)
  }

  /** The settings in force. */
  get options() {
    return { ...this.#options }
  }

  /** The same cache that returns values and segments as strings, with the encoding utf8, or else as Buffers. */
  withEncoding(encoding = undefined) {
    const options = { ...this.#options, encoding: checkEncoding(encoding) }
    return new Wildkey(new Shared({ ...this.#shared, options }))
  }

  /** The same cache as one of its shards has it: patterns and sweep look there alone. */
  onShard(number) {
    const { shards } = this.#options
    if (!Number.isInteger(number) || number < 0 || number >= shards) {
      throw new BadArgumentError(`there is no shard ${describe(number)} of ${shards}`)
    }
    return new Wildkey(new Shared({ ...this.#shared, only: number }))
  }

  /** Loads all scripts on every node, or with preloaded sees that they are there. Calls load what they need anyway. */
  async load() {
    await this.#loader.load()
  }

  /**
   * Writes the records, { key, value, ttl, condition }, all of them or none. ConditionError: a condition does not hold.
   */
  async put(...records) {
    await this.apply(...records.map((record) => ({ ...record, op: 'put' })))
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
    this.#checkNumber(operations)
    return this.#applyPrepared(operations.map((operation) => this.#prepare(operation)))
  }

  /** The value of the record, or null. */
  async get(key) {
    const { name, encoded } = this.#locate(key)
    return this.#value(await this.#send(true, 'GET', name), encoded)
  }

  /** The value of each key, or null, in their order: one snapshot for each shard in which they lie. */
  async getMany(...keys) {
    this.#checkNumber(keys)
    const located = keys.map((key) => this.#locate(key))
    const values = Array(keys.length).fill(null)
    const places = groupBy(located.keys(), (place) => located[place].shard)
    await inParallel(places.values(), async (group) => {
      const found = await this.#send(true, 'MGET', ...group.map((place) => located[place].name))
      group.forEach((place, i) => (values[place] = this.#value(found[i], located[place].encoded)))
    })
    return values
  }

  /** The value of the record, or null, and gives the record a new ttl. */
  async getTouch(ttl, key) {
    const { name, encoded } = this.#locate(key)
    const time = ttlArgument(ttl, 'the ttl of a touch', key)
    const words = time === never ? ['PERSIST'] : ['PX', time]
    return this.#value(await this.#send(false, 'GETEX', name, ...words), encoded)
  }

  /** The time that the record has left: milliseconds, at least 1, or never; or null if there is no record. */
  async ttl(key) {
    const left = Number(await this.#send(true, 'PTTL', this.#locate(key).name))
    return left === -2 ? null : timeLeft(left)
  }

  /** Deletes the records, all at once, and returns how many of them were live. It works when the memory is full. */
  async delete(...keys) {
    this.#checkNumber(keys)
    if (keys.length === 0) return 0
    const names = this.#names(keys.map((key) => this.#locate(key)))
    return Number(await this.#loader.run('delete', names, ['count']))
  }

  /** Deletes the record and returns the value that it had, or null. Of several callers one gets it. */
  async take(key) {
    const located = this.#locate(key)
    const [value] = await this.#loader.run('delete', this.#names([located]), ['values'])
    return this.#value(value, located.encoded)
  }

  /** Gives those of the records that live a new ttl, all at once, and returns how many they are. */
  async touch(ttl, ...keys) {
    ttlArgument(ttl, 'the ttl of a touch')
    return this.apply(...keys.map((key) => ({ op: 'touch', key, ttl })))
  }

  /**
   * Iterates over the records that match, { key, value }, in byte order of their encoded keys, page by page. A page is
   * one snapshot, all of them are not: a record that lives from start to end is met just once, any other at most once.
   * withTtl: with the ttl that each has left; fromMaster: even if the client reads from replicas; signal: ends it.
   */
  async *match(pattern, options = {}) {
    const { withTtl, fromMaster, signal } = checkNames(options, ['withTtl', 'fromMaster', 'signal'])
    const want = withTtl ? 'records' : 'values'
    const query = this.#finder.query(want, pattern, { limit: this.#options.pageLimit, fromMaster, signal })
    for await (const entry of this.#finder.merge(query, '')) yield this.#entry(entry, query)
  }

  /** match without the values: iterates over the keys. */
  async *matchKeys(pattern, options = {}) {
    const { fromMaster, signal } = checkNames(options, ['fromMaster', 'signal'])
    const query = this.#finder.query('keys', pattern, { limit: this.#options.pageLimit, fromMaster, signal })
    for await (const { encoded } of this.#finder.merge(query, '')) yield decodeKey(encoded, this.#options.encoding)
  }

  /** All records that match meets, in a list. */
  async collect(pattern, options = {}) {
    const entries = []
    for await (const entry of this.match(pattern, options)) entries.push(entry)
    return entries
  }

  /**
   * One page of the records that match, { entries, cursor }: the next page starts at the cursor, and behind the last
   * one it is ''. after: the page starts behind this key, live or not. limit: the most records. withTtl: as of match. A
   * page may be short, even empty, and not the last.
   */
  async page(pattern, options = {}) {
    checkNames(options, ['cursor', 'after', 'limit', 'withTtl', 'signal'])
    const { cursor = '', after, limit = this.#options.pageLimit, withTtl, signal } = options
    checkWhole('limit', limit, LARGEST.pageLimit)
    if (typeof cursor !== 'string') throw new BadArgumentError(`a cursor is a string, not ${describe(cursor)}`)
    if (cursor && after !== undefined) {
      throw new BadArgumentError('a page has a cursor or after, not both', { key: after })
    }
    const query = this.#finder.query(withTtl ? 'records' : 'values', pattern, { limit, signal })
    const start = after === undefined ? cursor : `>${query.lead}${encodeKey(after)}`
    if (query.shards.length === 1) {
      const page = await this.#finder.page(query.shards[0], query, start, limit)
      return { entries: page.entries.map((entry) => this.#entry(entry, query)), cursor: page.cursor }
    }
    const entries = []
    let bytes = 0
    for await (const entry of this.#finder.merge(query, start)) {
      bytes += entry.encoded.length + entry.value.length
      if (entries.length > 0 && (entries.length >= limit || bytes > this.#options.callBytes)) {
        return { entries, cursor: `[${query.lead}${entry.encoded}` } // each shard goes on from there
      }
      entries.push(this.#entry(entry, query))
    }
    return { entries, cursor: '' }
  }

  /** How many live records match. */
  async count(pattern, options = {}) {
    const { signal } = checkNames(options, ['signal'])
    const query = this.#finder.query('count', pattern, { limit: this.#options.pageReads, signal })
    return this.#finder.sumPages(query, ({ count }) => count)
  }

  /**
   * Iterates over what lives at the depth of the pattern, { key, beneath }, as a file system lists a directory:
   * records, and with beneath the keys under which records live. A key that is both comes twice.
   */
  async *list(pattern, options = {}) {
    const { signal } = checkNames(options, ['signal'])
    // An item takes a leap, and a leap the time of several entries in a row.
    const query = this.#finder.query('list', pattern, { limit: Math.ceil(this.#options.pageLimit / 2), signal })
    if (query.terms.at(-1) === '**') {
      throw new BadPatternError(pattern, 'list takes no **; it reports by itself which keys have records beneath them')
    }
    query.shards = this.#finder.shardsOf([...query.terms, '**'])
    let previous = ''
    for await (const { encoded } of this.#finder.merge(query, '')) {
      if (encoded === previous) continue // of several shards
      previous = encoded
      const beneath = encoded.endsWith(':')
      yield { key: decodeKey(beneath ? encoded.slice(0, -1) : encoded, this.#options.encoding), beneath }
    }
  }

  /**
   * An upper bound of how many records match, at once however many they are: it counts index entries, stale ones too.
   * The pattern is ** or ends in it behind segments alone.
   */
  async estimate(pattern) {
    const terms = patternTerms(pattern)
    if (terms.pop() !== '**' || terms.some((term) => term[0] !== '=')) {
      throw new BadPatternError(pattern, 'estimate needs segments and ** behind them')
    }
    const head = terms.map((term) => term.slice(1)).join(':')
    // Above all leases; or from the record above, which may live, to the end of what is beneath it.
    const [from, to, above] = head ? [`[${head}:`, `(${head};`, 1] : ['["', '+', 0]
    return sum(this.#finder.shardsOf([...terms, '**']), async (shard) => {
      return Number(await this.#send(true, 'ZLEXCOUNT', this.#layout.index(shard), from, to)) + above
    })
  }

  /** Deletes the records that match, callRecords at a time, and returns how many of them were live. */
  async deleteMatch(pattern, options = {}) {
    const { signal } = checkNames(options, ['signal'])
    return this.#finder.onMatches(pattern, { signal }, (names) => this.#loader.run('delete', names, ['count']))
  }

  /** Gives the records that match a new ttl, callRecords at a time, and returns how many they were. */
  async touchMatch(ttl, pattern, options = {}) {
    const { signal } = checkNames(options, ['signal'])
    const args = [`touch ${ttlArgument(ttl, 'the ttl of a touch')}`, '*', '']
    return this.#finder.onMatches(pattern, { signal }, (names) => {
      return this.#loader.run('put', names, Array(names.length - 1).fill(args).flat())
    })
  }

  /**
   * Drops the index entries whose record is gone, and returns how many they were. Only a namespace into which nobody
   * puts any more needs it.
   */
  async sweep(options = {}) {
    const { signal } = checkNames(options, ['signal'])
    let total = 0
    for (const pattern of ['**', new Leases('**')]) {
      const want = this.#options.declaredKeys ? 'index' : 'count' // of index all entries are suspects
      const limit = this.#options.pageReads
      const query = this.#finder.query(want, pattern, { limit, fromMaster: true, sweep: true, signal })
      total += await this.#finder.sumPages(query, ({ swept, sweepError }) => {
        if (sweepError) throw sweepError
        return swept
      })
    }
    return total
  }

  /**
   * Writes any number of records, of any iterable, in as few calls as callRecords and callBytes allow, and returns how
   * many it has written. Each meets what a put of its own would meet; if it fails, the others are written all the same,
   * and putEach throws an EachError at the end. outcome(record, error) is called for each, in their order, with null or
   * the reason why it was not written. signal: no further call is made.
   */
  async putEach(records, options = {}) {
    return this.#each(records, (record) => ({ ...record, op: 'put' }), options)
  }

  /** Deletes any number of records in the way of putEach, and returns how many of them were live. */
  async deleteEach(keys, options = {}) {
    return this.#each(keys, (key) => ({ op: 'delete', key }), options)
  }

  /** Gives any number of records a new ttl in the way of putEach, and returns how many of them were live. */
  async touchEach(ttl, keys, options = {}) {
    ttlArgument(ttl, 'the ttl of a touch')
    return this.#each(keys, (key) => ({ op: 'touch', key, ttl }), options)
  }

  #each(source, operationOf, options) {
    return applyEach(source, operationOf, checkNames(options, ['outcome', 'signal']), {
      prepare: (operation) => this.#prepare(operation),
      apply: (prepared) => this.#applyPrepared(prepared),
      options: this.#options,
    })
  }

  /** The Redis key of the lease of a key. It lies in the shard of the key. */
  leaseName(key) {
    return this.#locate(new Lease(key)).name
  }

  /** Calls a script with these KEYS and ARGV by its digest, and has it loaded if it was missing. */
  call(script, keys, args, readOnly = false) {
    return readOnly ? this.#loader.runReadOnly(script, keys, args) : this.#loader.run(script, keys, args)
  }

  #send(readOnly, command, key, ...words) {
    return this.#adapter.send([command, key, ...words], key, readOnly)
  }

  #value(bytes, encoded) {
    return bytes === null ? null : decodeBytes(bytes, this.#options.encoding, 'the value', encoded)
  }

  #entry({ encoded, value, ttl }, { want }) {
    const entry = { key: decodeKey(encoded, this.#options.encoding), value: this.#value(value, encoded) }
    return want === 'records' ? { ...entry, ttl } : entry
  }

  #prepare(operation) {
    const args = putArguments(operation, this.#options.ttl)
    const located = this.#locate(operation.key)
    return { ...located, args, bytes: located.encoded.length + args[1].length + args[2].length }
  }

  // The record or lease of a key, and where it lies.
  #locate(key) {
    const { encoded, lead } = memberOf(key)
    const shard = this.#layout.shardOf(encoded)
    return { key, encoded, shard, name: this.#layout.member(shard, lead + encoded) }
  }

  // The KEYS of a script that writes these records, of one shard.
  #names(located) {
    const [{ shard }] = located
    for (const { key, shard: other } of located) {
      if (other !== shard) throw new CrossShardError(key, this.#layout.tags[shard], this.#layout.tags[other])
    }
    return [this.#layout.index(shard), ...located.map(({ name }) => name)]
  }

  async #applyPrepared(prepared) {
    if (prepared.length === 0) return 0
    const done = Number(await this.call('put', this.#names(prepared), prepared.flatMap(({ args }) => args)))
    if (done >= 0) return done
    const { key, name } = prepared[-done - 1]
    throw new ConditionError(-done - 1, key, name)
  }

  #checkNumber({ length }) {
    const { callRecords } = this.#options
    if (length > callRecords) throw new BadArgumentError(`${length} records in one call; callRecords is ${callRecords}`)
  }
}

function groupBy(items, keyOf) {
  const groups = new Map()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group) group.push(item)
    else groups.set(keyOf(item), [item])
  }
  return groups
}

function share(client, options) {
  const checked = checkOptions(options)
  const adapter = adapterOf(client)
  const loader = new Loader(adapter, readScripts(checked.scripts), checked.preloaded)
  return new Shared({ adapter, loader, layout: new Layout(checked), options: checked })
}
