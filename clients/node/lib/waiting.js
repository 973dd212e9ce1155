/** Calls the function and waits for it, or until the signal is aborted. Without a signal it just calls it. */
export function untilAborted(signal, call) {
  if (!signal) return call()
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    Promise.resolve(call())
      .finally(() => signal.removeEventListener('abort', abort))
      .then(resolve, reject)
  })
}

/** How many shards are asked at a time. */
export const MAX_PARALLEL = 16

/** Calls the function for each item, some at a time, waits for all, and throws the first error. */
export async function inParallel(items, call) {
  const waiting = [...items]
  let failed = false
  let first
  const work = async () => {
    while (waiting.length > 0 && !failed) {
      try {
        await call(waiting.shift())
      } catch (error) {
        if (!failed) first = error
        failed = true
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(MAX_PARALLEL, waiting.length) }, work))
  if (failed) throw first
}

/** The sum of what the function returns for each item. */
export async function sum(items, call) {
  let total = 0
  await inParallel(items, async (item) => {
    const n = await call(item) // before total is read, which others change meanwhile
    total += n
  })
  return total
}
