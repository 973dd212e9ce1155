import { BadArgumentError, ConditionError, EachError, codeOf } from './errors.js'
import { describe } from './key.js'
import { MAX_PARALLEL, sum } from './waiting.js'

/**
 * Does an operation for each item of the source, as many in a call as may be, and returns how many records were put,
 * touched or deleted. As many items are held at a time as fill one call to each of some shards.
 */
export async function applyEach(source, operationOf, { outcome, signal }, { prepare, apply, options }) {
  if (typeof source?.[Symbol.asyncIterator] !== 'function' && typeof source?.[Symbol.iterator] !== 'function') {
    throw new BadArgumentError(`the source is ${describe(source)}, which cannot be iterated over`)
  }
  const calls = Math.min(options.shards, MAX_PARALLEL)
  let done = 0
  let failed = 0
  let first // what failed first, { item, error }
  let tasks = [] // an item, its operation prepared or the error, and its outcome
  let bytes = 0
  const flush = async () => {
    const flushed = tasks
    tasks = []
    bytes = 0
    done += await applyBatch(flushed, apply, options)
    for (const { item, error } of flushed) {
      if (error) failed++
      if (error && !first) first = { item, error }
      outcome?.(item, error)
    }
  }
  signal?.throwIfAborted()
  try {
    for await (const item of source) {
      const task = { item, prepared: undefined, error: null }
      try {
        task.prepared = prepare(operationOf(item))
        bytes += task.prepared.bytes
      } catch (error) {
        task.error = error
      }
      tasks.push(task)
      if (tasks.length >= options.callRecords * calls || bytes >= options.callBytes * calls) {
        await flush()
        signal?.throwIfAborted()
      }
    }
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) {
      await flush() // the records before the failure of the source
      throw first ? eachError(done, failed, first) : error
    }
    throw error
  }
  await flush()
  if (first) throw eachError(done, failed, first)
  return done
}

const eachError = (done, failed, { item, error }) =>
  new EachError(done, failed, error, Array.isArray(item) ? item : item?.key)

async function applyBatch(tasks, apply, options) {
  const shards = new Map()
  for (const task of tasks) {
    if (task.error) continue
    const { shard } = task.prepared
    if (!shards.has(shard)) shards.set(shard, [])
    shards.get(shard).push(task)
  }
  return sum(shards.values(), (inShard) => applyInShard(inShard, apply, options))
}

// A failed condition costs a call or two: the operations before it go again, and the next call is for half as many. A
// refused call is halved until the refused operation is alone. Calls that succeed double.
async function applyInShard(tasks, apply, { callRecords, callBytes }) {
  let done = 0
  let size = callRecords
  for (let next = 0; next < tasks.length; ) {
    let call = []
    const met = new Set()
    let bytes = 0
    for (const task of tasks.slice(next, next + size)) {
      bytes += task.prepared.bytes
      if (met.has(task.prepared.encoded) || (bytes > callBytes && call.length > 0)) break // put.lua takes each key once
      met.add(task.prepared.encoded)
      call.push(task)
    }
    let error = null
    try {
      done += await apply(call.map(({ prepared }) => prepared))
      size = Math.min(2 * size, callRecords)
    } catch (failure) {
      error = failure
      if (failure instanceof ConditionError && failure.index > 0) {
        size = failure.index // those before it would be done, it would not
        continue
      }
      if (failure instanceof ConditionError) {
        call = call.slice(0, 1)
        size = Math.max(Math.floor(size / 2), 1)
      } else if (mayBeOfOne(failure) && call.length > 1) {
        size = Math.floor(call.length / 2)
        continue
      }
    }
    for (const task of call) task.error = error
    next += call.length
  }
  return done
}

// Whether a server that has refused a call might not refuse another one, which names other records.
const mayBeOfOne = (error) => ['NOPERM', 'TRYAGAIN', 'WRONGTYPE', 'BADARG'].includes(codeOf(error))
