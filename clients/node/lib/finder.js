import { BadArgumentError } from './errors.js'
import { isEncodedKey } from './key.js'
import { timeLeft } from './operation.js'
import { Leases, patternTerms } from './pattern.js'
import { inParallel, sum, untilAborted } from './waiting.js'

/** Finds what matches a pattern: calls match.lua page by page, in the shards that may hold matches. */
export class Finder {
  #adapter
  #loader
  #options
  #layout
  #only // the one shard where patterns look

  constructor({ adapter, loader, options, layout, only }) {
    this.#adapter = adapter
    this.#loader = loader
    this.#options = options
    this.#layout = layout
    this.#only = only
  }

  /** The shards that are asked for these terms. */
  shardsOf(terms) {
    const shards = this.#layout.shardsOf(terms)
    return this.#only === undefined ? shards : shards.filter((shard) => shard === this.#only)
  }

  /** What match.lua is asked for, page by page. */
  query(want, pattern, { limit, fromMaster = false, sweep = false, signal = undefined }) {
    const lead = pattern instanceof Leases ? '!' : '' // of the members that match
    const shards = this.shardsOf(patternTerms(lead ? pattern.pattern : pattern))
    return { want, terms: patternTerms(pattern), lead, shards, limit, fromMaster, sweep, signal }
  }

  /** The sum of what the function returns for each page, in all shards at a time. */
  sumPages(query, numberOf) {
    return sum(query.shards, async (shard) => {
      let total = 0
      for await (const page of this.#pages(shard, query, '')) total += numberOf(page)
      return total
    })
  }

  /**
   * Does the action on all records that match, in all shards at a time. It goes by the index alone: the scripts look
   * whether a record is live.
   */
  onMatches(pattern, { signal = undefined }, act) {
    const query = this.query('index', pattern, { limit: this.#options.callRecords, fromMaster: true, signal })
    return sum(query.shards, async (shard) => {
      let total = 0
      for await (const { entries } of this.#pages(shard, query, '')) {
        if (entries.length === 0) continue
        const names = entries.map(({ encoded }) => this.#layout.member(shard, query.lead + encoded))
        total += Number(await act([this.#layout.index(shard), ...names]))
      }
      return total
    })
  }

  /**
   * The matches of all shards in order. The first pages are asked for in parallel, and are small, as the shards share
   * the limit; those behind them grow where records lie together.
   */
  async *merge(query, cursor) {
    const { shards, limit } = query
    if (shards.length === 1) {
      yield* this.#entries(shards[0], query, cursor, limit)
      return
    }
    const first = Math.min(limit, 8 + Math.floor((2 * limit) / shards.length))
    const heads = shards.map((shard) => ({ matches: this.#entries(shard, query, cursor, first), entry: undefined }))
    const advance = async (head) => {
      const { done, value } = await head.matches.next()
      head.entry = done ? undefined : value
    }
    try {
      await inParallel(heads, advance)
      const waiting = heads.filter(({ entry }) => entry).sort((a, b) => (a.entry.encoded < b.entry.encoded ? -1 : 1))
      while (waiting.length > 0) {
        const [least] = waiting
        yield least.entry
        await advance(least)
        waiting.shift()
        if (!least.entry) continue
        const place = waiting.findIndex(({ entry }) => entry.encoded >= least.entry.encoded)
        waiting.splice(place < 0 ? waiting.length : place, 0, least)
      }
    } finally {
      await Promise.all(heads.map(({ matches }) => matches.return()))
    }
  }

  async *#entries(shard, query, cursor, first) {
    for await (const { entries } of this.#pages(shard, query, cursor, first)) yield* entries
  }

  async *#pages(shard, query, cursor, first = query.limit) {
    let limit = first
    do {
      const page = await this.page(shard, query, cursor, limit)
      yield page
      cursor = page.cursor
      limit = Math.min(2 * limit, query.limit)
    } while (cursor !== '')
  }

  /**
   * One page; the stale entries that it met are swept. It is right with or without that: if the sweep fails, the next
   * page that meets them asks for another.
   */
  async page(shard, query, cursor, limit) {
    const page = await untilAborted(query.signal, () => this.#ask(shard, query, cursor, limit))
    const stale = query.sweep && query.want === 'index' ? page.members : page.stale
    if (stale.length === 0 || (this.#options.leaveStale && !query.sweep)) return page
    const prefix = Buffer.from(this.#layout.member(shard, ''))
    const suspects = stale.map((member) => Buffer.concat([prefix, member]))
    try {
      page.swept = Number(await this.#loader.run('sweep', [this.#layout.index(shard), ...suspects], []))
    } catch (error) {
      page.sweepError = error
    }
    return page
  }

  async #ask(shard, query, cursor, limit) {
    const { pageReads, callBytes, declaredKeys } = this.#options
    if (declaredKeys && !['values', 'keys', 'index'].includes(query.want)) {
      throw new BadArgumentError(`${query.want} of match.lua takes keys that declaredKeys forbids`)
    }
    const want = declaredKeys ? 'index' : query.want
    const bounds = [limit, pageReads, callBytes].map(String)
    const args = [want, Buffer.from(cursor, 'latin1'), ...bounds, ...query.terms]
    const readOnly = !query.fromMaster
    const [next, , stale, results] = await this.#match([this.#layout.index(shard)], args, readOnly)
    const page = {
      entries: [],
      members: [], // of which the entries were made
      cursor: next.toString('latin1'),
      stale,
      count: 0,
      swept: 0,
      sweepError: null,
    }
    // A cursor goes back only where the index holds other scores than 0.
    if (cursor && page.cursor && (page.cursor === cursor || page.cursor.slice(1) < cursor.slice(1))) {
      throw new Error(`the cursor ${page.cursor} does not go on from ${cursor}`)
    }
    if (want === 'count') {
      page.count = Number(results)
      return page
    }
    const width = { values: 2, records: 3 }[want] ?? 1
    for (let i = 0; i < results.length; i += width) {
      const text = results[i].toString('latin1')
      const encoded = text.startsWith(query.lead) ? text.slice(query.lead.length) : text
      // What is no encoded key was not written by a client of Wildkey.
      if (!isEncodedKey(want === 'list' && encoded.endsWith(':') ? encoded.slice(0, -1) : encoded)) continue
      page.members.push(results[i])
      page.entries.push({
        encoded,
        value: width > 1 ? results[i + 1] : null,
        ttl: width > 2 ? timeLeft(Number(results[i + 2])) : undefined,
      })
    }
    if (want !== query.want && page.entries.length > 0) {
      const names = page.entries.map(({ encoded }) => this.#layout.member(shard, query.lead + encoded))
      const values = await this.#adapter.send(['MGET', ...names], names[0], readOnly)
      page.entries.forEach((entry, i) => (entry.value = values[i]))
      page.entries = page.entries.filter(({ value }) => value !== null)
    }
    return page
  }

  #match(keys, args, readOnly) {
    return readOnly ? this.#loader.runReadOnly('match', keys, args) : this.#loader.run('match', keys, args)
  }
}
