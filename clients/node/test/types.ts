// What tsc is to accept, and what not: it is never run.

import { Redis } from 'ioredis'
import { createClient } from 'redis'

import { Wildkey as Implementation } from '../lib/cache.js'
import { Fetcher as ImplementedFetcher } from '../lib/fetch.js'
import * as implemented from '../lib/errors.js'
import * as wildkey from '../wildkey.js'
import { Fetcher, Leases, Wildkey, keep, never, pattern, prefix, rest } from '../wildkey.js'

// The declarations are of what is there.
export const cacheAsDeclared: Wildkey<any> = new Implementation({})
export const fetcherAsDeclared: Fetcher<any> = new ImplementedFetcher(cacheAsDeclared)
export const errorAsDeclared: wildkey.ConditionError = new implemented.ConditionError(0, ['a'], 'a')
export const eachErrorAsDeclared: wildkey.EachError = new implemented.EachError(0, 1, new Error(), ['a'])

export async function bytes() {
  const cache = new Wildkey(createClient(), { ttl: 1_000 })
  const value: Buffer | null = await cache.get(['user', 42, 7n, Buffer.from('x')])
  await cache.put({ key: ['a'], value: value ?? 'none', ttl: keep }, { key: ['b'], value: new Uint8Array(1), ttl: never })
  for await (const { key, value, ttl } of cache.match(pattern('user', prefix('4'), rest), { withTtl: true })) {
    const segment: Buffer = key[0]
    const left: number | 'never' = ttl
    console.log(segment, value.byteLength, left)
  }
  await cache.deleteMatch(new Leases('user:*'), { signal: AbortSignal.timeout(1_000) })
  await cache.apply({ op: 'check', key: ['a'], condition: wildkey.absent }, { op: 'touch', key: ['b'], ttl: never })
  // @ts-expect-error: a key has no such segment
  await cache.get([{}])
  // @ts-expect-error: a check has a condition
  await cache.apply({ op: 'check', key: ['a'] })
  // @ts-expect-error: a touch cannot keep the ttl
  await cache.touch(keep, ['a'])
}

export async function text() {
  const cache = new Wildkey(new Redis(), { encoding: 'utf8' })
  const value: string | null = await cache.get(['a'])
  const fetcher = new Fetcher(cache, { negative: 1_000 })
  const loaded: string | null = await fetcher.get(['a'], async ({ signal }) => (signal.aborted ? null : { value, ttl: 1 }))
  const buffers: (Buffer | null)[] = await cache.withEncoding().getMany(['a'])
  // @ts-expect-error: a load returns no number
  await fetcher.get(['a'], () => 1)
  // @ts-expect-error: there is no such option
  new Wildkey(new Redis(), { tll: 1_000 })
  return [loaded, buffers]
}
