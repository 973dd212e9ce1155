import { randomUUID } from 'node:crypto'

import { Wildkey } from './cache.js'
import { BadArgumentError, ConditionError, codeOf } from './errors.js'
import { Lease, bytesOf, decodeBytes, decodeKey, describe, encodeKey } from './key.js'
import { absent, changes, equal, never, ttlArgument } from './operation.js'
import { checkNames } from './options.js'
import { Leases, pattern } from './pattern.js'
import { untilAborted } from './waiting.js'

// The pauses of those who wait double from one to the other, in milliseconds.
const FIRST_WAIT = 4
const LONGEST_WAIT = 256

// The text of a lease that says: there is nothing to load.
const NONE = Buffer.from('none')

/**
 * Returns records of a cache, or has one caller among all processes load them. Who loads a record holds its lease, a
 * value beside the record; a loaded value is put only while that stands. put, apply, delete, take and deleteMatch of a
 * Fetcher void the leases of what they change: a value that was read before them is never stored after them. Those of
 * the cache know nothing of leases.
 */
export class Fetcher {
  #cache // whose values are Buffers
  #encoding
  #options
  #flights = new Map() // what is done for all callers of a key, by encoded key
  #counts = { loads: 0, stored: 0, refused: 0, failed: 0, unleased: 0, refreshes: 0, waits: 0 }

  constructor(cache, options = {}) {
    if (!(cache instanceof Wildkey)) throw new BadArgumentError(`the cache is ${describe(cache)}, not a Wildkey`)
    this.#encoding = cache.options.encoding
    this.#cache = cache.withEncoding()
    this.#options = checkOptions(options, cache.options.ttl)
  }

  /**
   * The value of the record. Without one, load is called, once among all processes: it returns the value, or
   * { value, ttl }, or null if there is nothing, and may be async. get then returns what was loaded, or null, or throws
   * what load threw. signal ends the waiting; the load goes on and its value is stored, unless endWithCaller is set.
   */
  async get(key, load, { signal = undefined } = {}) {
    const encoded = encodeKey(key)
    if (typeof load !== 'function') throw new BadArgumentError(`load is ${describe(load)}, not a function`, { key })
    for (;;) {
      const served = await untilAborted(signal, () => this.#cache.get(key))
      if (served !== null) {
        this.#refreshAhead(encoded, served, load)
        return decodeBytes(served, this.#encoding, 'the value', encoded)
      }
      const { flight, reads, settling } = await this.#join(encoded, load, signal)
      if (flight.failed) throw flight.error
      // A caller that joined before the last read of the flight began has its answer. One that joined later may have
      // come after an invalidation which that read did not see. What was put after it had joined is its answer all the
      // same, as the lease still stood then.
      if (reads >= flight.reads && (settling || !flight.stored)) continue
      // Each caller may change its own.
      return flight.value && decodeBytes(Buffer.from(flight.value), this.#encoding, 'the value', encoded)
    }
  }

  /** The put of the cache, which voids the leases of the records in the same call. */
  async put(...records) {
    await this.apply(...records.map((record) => ({ ...record, op: 'put' })))
  }

  /** The delete of the cache, which voids the leases of the records in the same call. */
  delete(...keys) {
    return this.apply(...keys.map((key) => ({ op: 'delete', key })))
  }

  /**
   * The apply of the cache, which voids the leases of all records that it puts or deletes, if it does anything. Half of
   * callRecords are the most of a call. While a slot moves between nodes of a cluster it waits until that is over.
   */
  apply(...operations) {
    const leases = operations.filter(changes).map(({ key }) => ({ op: 'delete', key: new Lease(key) }))
    return this.#apply([...operations, ...leases])
  }

  /** The take of the cache, after a call that voids the lease. A load that begins between the two finds the record. */
  async take(key) {
    await this.#apply([{ op: 'delete', key: new Lease(key) }])
    const value = await this.#cache.take(key)
    return value && decodeBytes(value, this.#encoding, 'the value', encodeKey(key))
  }

  /** The deleteMatch of the cache, after the leases that the pattern matches, also those of keys without a record. */
  async deleteMatch(pattern, { signal = undefined } = {}) {
    await this.#cache.deleteMatch(new Leases(pattern), { signal })
    return this.#cache.deleteMatch(pattern, { signal })
  }

  /**
   * Counts so far: loads, calls of a load; stored, values that were put; refused, ends of a load that found its lease
   * gone or another record; failed, ends of which the server said something else; unleased, loads without a lease, as
   * the server refused it; refreshes, loads ahead of the end of a record; waits, pauses for another process's load.
   */
  stats() {
    return { ...this.#counts }
  }

  // While a slot moves, a lease that is not there is TRYAGAIN: waits until the move is over.
  async #apply(operations) {
    for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      try {
        return await this.#cache.apply(...operations)
      } catch (error) {
        if (codeOf(error) !== 'TRYAGAIN') throw error
        await pause(wait)
      }
    }
  }

  // Has one call at a time fetch the key, and waits for it.
  async #join(encoded, load, signal) {
    signal?.throwIfAborted()
    const flight = this.#flights.get(encoded) ?? this.#begin(encoded, (own) => this.#fetch(own, load))
    const { reads, settling } = flight
    flight.waiting++
    try {
      await untilAborted(signal, () => flight.ended)
    } catch (error) {
      this.#giveUp(flight)
      throw error
    }
    return { flight, reads, settling }
  }

  // Counts a caller out. A flight without callers goes on only if it loads.
  #giveUp(flight) {
    flight.waiting--
    if (flight.waiting > 0 || (flight.loading && !this.#options.endWithCaller)) return
    flight.controller.abort()
    this.#forget(flight) // who comes now is not to wait for what has been ended
  }

  #begin(encoded, work) {
    // The caller may change the bytes of its key before the flight ends.
    const flight = {
      encoded,
      key: decodeKey(encoded),
      controller: new AbortController(),
      waiting: 0, // callers that have not given up
      loading: false,
      reads: 0, // of the master and of the source, begun so far
      settling: false, // what ends the load has been sent
      stored: false, // and has been done
      value: null,
      failed: false,
      error: undefined,
      ended: undefined,
    }
    this.#flights.set(encoded, flight)
    const run = async () => {
      try {
        flight.value = await work(flight)
      } catch (error) {
        flight.failed = true
        flight.error = error
      }
      this.#forget(flight)
    }
    flight.ended = run()
    return flight
  }

  #forget(flight) {
    if (this.#flights.get(flight.encoded) === flight) this.#flights.delete(flight.encoded)
  }

  // Loads the record, or waits for who does.
  async #fetch(flight, load) {
    const { key, controller } = flight
    for (let wait = 0; ; wait = Math.min(Math.max(2 * wait, FIRST_WAIT), LONGEST_WAIT)) {
      if (wait > 0) {
        this.#counts.waits++
        await pause(wait, controller.signal)
      }
      const lease = this.#newLease(key)
      let failed
      try {
        await this.#cache.apply({ op: 'check', key, condition: absent }, lease.take)
      } catch (error) {
        failed = error
      }
      if (!failed) return this.#load(flight, lease, load, absent)
      if (!(failed instanceof ConditionError)) {
        controller.signal.throwIfAborted()
        if (!refusesLeases(failed)) throw failed
        this.#counts.unleased++
        return (await this.#call(flight, load)).value
      }
      if (failed.index === 0) { // there is a record by now
        flight.reads++
        // The index may not have it: it was put by hand, or the index is lost.
        const value = (await this.#onMaster(pattern(...key))) ?? (await this.#cache.get(key))
        if (value !== null) return value
        continue
      }
      flight.reads++
      const held = await this.#onMaster(new Leases(pattern(...key)))
      if (held?.equals(NONE)) return null
      // The call was done twice, as its first answer was lost.
      if (held?.equals(lease.token)) return this.#load(flight, lease, load, absent)
    }
  }

  // What is done to the lease of a key by who has taken it with this token.
  #newLease(key) {
    const token = Buffer.from(randomUUID())
    const own = equal(token)
    const lease = new Lease(key)
    return {
      token,
      take: { op: 'put', key: lease, value: token, ttl: this.#options.lease, condition: absent },
      giveBack: { op: 'delete', key: lease, condition: own },
      // That there is nothing to load.
      remember: { op: 'put', key: lease, value: NONE, ttl: this.#options.negative, condition: own },
    }
  }

  // Calls load and stores what it returns, if the lease still stands and the record is as the condition has it. What
  // can't be stored is returned all the same.
  async #load(flight, lease, load, still) {
    const { key } = flight
    let loaded
    try {
      loaded = await this.#call(flight, load)
    } catch (error) {
      await this.#settle(flight, lease, lease.giveBack)
      throw error
    }
    const { value, ttl } = loaded
    if (value !== null) {
      const put = { op: 'put', key, value, ttl, condition: still }
      flight.stored = await this.#settle(flight, lease, lease.giveBack, put)
      if (flight.stored) this.#counts.stored++
      return value
    }
    const operations = [this.#options.negative > 0 ? lease.remember : lease.giveBack]
    // The record that was to be renewed is of what is gone.
    if (still !== absent) operations.push({ op: 'delete', key, condition: still })
    flight.stored = await this.#settle(flight, lease, ...operations)
    return null
  }

  // Does what ends a load, and returns whether it was done. If it was not, the lease is given back, or nobody would
  // load before it ends by itself.
  async #settle(flight, lease, ...operations) {
    flight.settling = true
    try {
      await this.#cache.apply(...operations)
      return true
    } catch (error) {
      if (error instanceof ConditionError) this.#counts.refused++
      else this.#counts.failed++
    }
    await this.#cache.apply(lease.giveBack).catch(() => {}) // it ends by itself otherwise
    return false
  }

  // What load returns, as bytes, and its ttl.
  async #call(flight, load) {
    flight.loading = true
    flight.reads++
    this.#counts.loads++
    const loaded = await load({ signal: flight.controller.signal })
    const bare = loaded === null || typeof loaded !== 'object' || loaded instanceof Uint8Array
    const { value, ttl } = bare ? { value: loaded, ttl: undefined } : loaded
    if (value === undefined) {
      const reason = 'load has returned no value: null says that there is none'
      throw new BadArgumentError(reason, { key: flight.key })
    }
    return { value: value === null ? null : bytesOf(value, 'what load has returned', flight.key), ttl }
  }

  // Now and then looks how long the record that was hit still lives and, if that is little, has it loaded again in the
  // background.
  #refreshAhead(encoded, served, load) {
    const { refreshAhead } = this.#options
    if (refreshAhead === 0 || Math.random() >= 0.01 || this.#flights.has(encoded)) return
    const still = equal(Buffer.from(served)) // the caller may change it
    this.#begin(encoded, async (flight) => {
      const { key } = flight
      const left = await this.#cache.ttl(key)
      const value = still.subarray(1)
      if (left === null) return null
      if (left === never || left >= refreshAhead * this.#cache.options.ttl) return value
      const lease = this.#newLease(key)
      try {
        await this.#cache.apply({ op: 'check', key, condition: still }, lease.take)
      } catch {
        return value // somebody else loads, or has put another value
      }
      this.#counts.refreshes++
      return this.#load(flight, lease, load, still)
    })
  }

  // The one value that a pattern finds on the master: a replica may not know yet what was just written.
  async #onMaster(pattern) {
    const [entry] = await this.#cache.collect(pattern, { fromMaster: true })
    return entry ? entry.value : null
  }
}

// Whether a server may refuse a lease, and still have what was to be put: it is full, a replica, or moves the slot.
const refusesLeases = (error) => ['OOM', 'READONLY', 'TRYAGAIN'].includes(codeOf(error))

// Waits for about so long: all who wait must not ask at the same moments.
function pause(milliseconds, signal = undefined) {
  let timer
  const call = () => new Promise((resolve) => (timer = setTimeout(resolve, milliseconds * (0.5 + Math.random()))))
  return untilAborted(signal, call).finally(() => clearTimeout(timer))
}

function checkOptions(options, cacheTtl) {
  checkNames(options, ['lease', 'negative', 'refreshAhead', 'endWithCaller'])
  const { lease = 10_000, negative = 0, refreshAhead = 0, endWithCaller = false } = options
  if (lease === never) throw new BadArgumentError('a lease that never ends would hold up others if its loader died')
  ttlArgument(lease, 'the length of a lease')
  if (negative !== 0) ttlArgument(negative, 'negative')
  if (!(typeof refreshAhead === 'number' && refreshAhead >= 0 && refreshAhead <= 1)) {
    throw new BadArgumentError(`refreshAhead is ${describe(refreshAhead)}, but must be from 0 to 1`)
  }
  if (refreshAhead > 0 && (cacheTtl === undefined || cacheTtl === never)) {
    throw new BadArgumentError("refreshAhead is a share of the cache's ttl, which has none")
  }
  return { lease, negative, refreshAhead, endWithCaller }
}
