/** A segment of a key: text (sent as UTF-8), an integer, or any bytes. It is not empty. */
export type Segment = string | number | bigint | Uint8Array
/** A list of segments, from the general to the particular: ['user', 42, 'session', 'abc']. */
export type Key = readonly Segment[]
/** Text, sent as UTF-8, or any bytes. */
export type Bytes = string | Uint8Array

/** In the place of a ttl: the record never expires. */
export const never: 'never'
/** In the place of a record's ttl: leave the time that the record has left. It must be live. */
export const keep: 'keep'
/** A time to live: whole milliseconds above 0, or never. */
export type Ttl = number | 'never'

/** What must be true of a record for a call to write anything. */
export type Condition = Bytes
/** There is no live record. */
export const absent: '-'
/** There is a live record. */
export const present: '+'
/** There is a live record with just this value. */
export function equal(value: Bytes): Buffer
/** There is a live record whose value has this SHA-1, in lower-case hexadecimal. */
export function equalSHA1(digest: string): string

/** In the place of a key: its lease, for Fetcher. */
export class Lease {
  constructor(key: Key)
  readonly key: Key
}

/** In the place of a pattern: the leases of the keys that it matches. Results name a lease by its key. */
export class Leases {
  constructor(pattern: string)
  readonly pattern: string
}

export interface WildkeyRecord {
  key: Key | Lease
  value: Bytes
  /** The ttl of the cache, if none is given here. */
  ttl?: Ttl | 'keep'
  condition?: Condition
}

export type Operation =
  | ({ op?: 'put' } & WildkeyRecord)
  | { op: 'touch'; key: Key | Lease; ttl: Ttl; condition?: Condition }
  | { op: 'delete'; key: Key | Lease; condition?: Condition }
  | { op: 'check'; key: Key | Lease; condition: Condition }

/** What a pattern asks of one segment, beside the segment itself. */
export class Term {
  constructor(text: string)
  readonly text: string
  toString(): string
}

/** Any one segment. */
export const any: Term
/** Zero or more segments, last only. */
export const rest: Term
/** A segment that starts so. */
export function prefix(start: Segment): Term
/** A segment that ends so. */
export function suffix(end: Segment): Term
/** A segment that starts and ends so. One of the two may be empty. */
export function affix(start: Segment, end: Segment): Term
/** A segment at or after from and before to, in byte order. One of the two may be empty. */
export function between(from: Segment, to: Segment): Term
/** The text of a pattern, or the leases of what it matches. */
export type Pattern = string | Leases

/** The text of a pattern. What is no Term is a segment that must be there just so: no value can hold a wildcard. */
export function pattern(...terms: (Term | Segment)[]): string
/** The pattern of the record and of all records beneath it. */
export function under(key: Key): string
/** The terms of match.lua for the text of a pattern. */
export function patternTerms(pattern: Pattern): string[]

export function encodeKey(key: Key): string
export function decodeKey(encoded: string): Buffer[]
export function decodeKey(encoded: string, encoding: 'utf8'): string[]
export function shard(key: Key, shards: number, leading?: number): number
export function hashTag(namespace: Segment, shard?: number, shards?: number, leading?: number): string
export function readScripts(directory?: string): { [name: string]: { source: Buffer; sha1: string } }

export interface Options {
  /** Keeps the records apart from all others. Default: cache. */
  namespace?: Segment
  /** For records that bring none. Without it every record must bring a ttl. */
  ttl?: Ttl
  /** Return values and segments as strings. What is no UTF-8 is an EncodingError then. Default: Buffers. */
  encoding?: 'utf8'
  /** Only operators load scripts on this server: a missing one is a ScriptError. */
  preloaded?: boolean
  /** Leave stale index entries alone, as a client must that may not write. */
  leaveStale?: boolean
  /** The server refuses scripts a key that the call has not declared. */
  declaredKeys?: boolean
  /** The most records of an atomic call: 250 by default, at most 10,000. */
  callRecords?: number
  /** The most bytes of a page, and of a call of putEach: 1 MiB by default. */
  callBytes?: number
  /** The most records of a page: 500 by default, at most 99,999. */
  pageLimit?: number
  /** The most index entries read for a page: 1,000 by default, at most 99,999. */
  pageReads?: number
  /** How many hash tags the namespace is spread over: 1 by default. All who use it must agree. */
  shards?: number
  /** How many leading segments of a key choose its shard: 1 by default. */
  shardSegments?: number
  /** Where the scripts are, if not in the package. */
  scripts?: string
}

export interface Abortable {
  /** Ends the waiting: what has been asked for throws the reason of the signal. */
  signal?: AbortSignal
}

export interface MatchOptions extends Abortable {
  /** Return the ttl that each record has left. */
  withTtl?: boolean
  /** Read from the master, even if the client reads from replicas. */
  fromMaster?: boolean
}

export interface PageOptions extends Abortable {
  /** Of the page before. */
  cursor?: string
  /** The page starts behind this key, live or not. */
  after?: Key
  /** The most records. */
  limit?: number
  withTtl?: boolean
}

export interface Entry<Value> {
  key: Value[]
  value: Value
  /** With withTtl: what the record has left, at least 1, or never. */
  ttl?: Ttl
}

export interface EachOptions<Item> extends Abortable {
  /** Called for each item, in their order, with null or the reason why it was not written. */
  outcome?: (item: Item, error: Error | null) => void
}

type Source<Item> = Iterable<Item> | AsyncIterable<Item>

/** A namespace of records. Value is Buffer, or string with the encoding utf8. */
export interface Wildkey<Value = Buffer> {
  readonly options: Options
  withEncoding(): Wildkey<Buffer>
  withEncoding(encoding: 'utf8'): Wildkey<string>
  /** The cache as one of its shards has it: patterns and sweep look there alone. */
  onShard(number: number): Wildkey<Value>
  /** Loads all scripts on every node, or with preloaded sees that they are there. */
  load(): Promise<void>
  put(...records: WildkeyRecord[]): Promise<void>
  apply(...operations: Operation[]): Promise<number>
  get(key: Key | Lease): Promise<Value | null>
  getMany(...keys: (Key | Lease)[]): Promise<(Value | null)[]>
  getTouch(ttl: Ttl, key: Key): Promise<Value | null>
  ttl(key: Key | Lease): Promise<Ttl | null>
  delete(...keys: (Key | Lease)[]): Promise<number>
  take(key: Key | Lease): Promise<Value | null>
  touch(ttl: Ttl, ...keys: (Key | Lease)[]): Promise<number>
  match(pattern: Pattern, options?: MatchOptions): AsyncGenerator<Entry<Value>, void, void>
  matchKeys(pattern: Pattern, options?: Omit<MatchOptions, 'withTtl'>): AsyncGenerator<Value[], void, void>
  collect(pattern: Pattern, options?: MatchOptions): Promise<Entry<Value>[]>
  page(pattern: Pattern, options?: PageOptions): Promise<{ entries: Entry<Value>[]; cursor: string }>
  count(pattern: Pattern, options?: Abortable): Promise<number>
  list(pattern: string, options?: Abortable): AsyncGenerator<{ key: Value[]; beneath: boolean }, void, void>
  estimate(pattern: string): Promise<number>
  deleteMatch(pattern: Pattern, options?: Abortable): Promise<number>
  touchMatch(ttl: Ttl, pattern: Pattern, options?: Abortable): Promise<number>
  sweep(options?: Abortable): Promise<number>
  putEach(records: Source<WildkeyRecord>, options?: EachOptions<WildkeyRecord>): Promise<number>
  deleteEach(keys: Source<Key>, options?: EachOptions<Key>): Promise<number>
  touchEach(ttl: Ttl, keys: Source<Key>, options?: EachOptions<Key>): Promise<number>
  /** The Redis key of the lease of a key. */
  leaseName(key: Key): string
  /** Calls a script with these KEYS and ARGV by its digest, and has it loaded if it was missing. */
  call(script: string, keys: Bytes[], args: Bytes[], readOnly?: boolean): Promise<unknown>
}

/** client is one of redis (createClient, createClientPool, createCluster, createSentinel) or ioredis (Redis, Cluster). */
export const Wildkey: {
  new (client: object, options: Options & { encoding: 'utf8' }): Wildkey<string>
  new (client: object, options?: Options & { encoding?: undefined }): Wildkey<Buffer>
  readonly prototype: Wildkey<any>
}

export interface FetchOptions {
  /** How long a load may take at most for its value to be stored: 10,000 milliseconds by default. */
  lease?: number
  /** For how long it is remembered that there is nothing to load. Default: it is not. */
  negative?: Ttl | 0
  /** The share of the cache's ttl, from 0 to 1, below which a record is loaded again in the background. Default: 0. */
  refreshAhead?: number
  /** Abort the signal of a load once all callers of this process have given up. */
  endWithCaller?: boolean
}

/** The value, or it and its ttl, or null if there is nothing. */
export type Loaded = Bytes | null | { value: Bytes | null; ttl?: Ttl }
export type Load = (options: { signal: AbortSignal }) => Loaded | Promise<Loaded>

export interface FetchStats {
  loads: number
  stored: number
  refused: number
  failed: number
  unleased: number
  refreshes: number
  waits: number
}

/** Returns records, or has one caller among all processes load them. */
export class Fetcher<Value = Buffer> {
  constructor(cache: Wildkey<Value>, options?: FetchOptions)
  get(key: Key, load: Load, options?: Abortable): Promise<Value | null>
  put(...records: WildkeyRecord[]): Promise<void>
  apply(...operations: Operation[]): Promise<number>
  delete(...keys: Key[]): Promise<number>
  take(key: Key): Promise<Value | null>
  deleteMatch(pattern: string, options?: Abortable): Promise<number>
  stats(): FetchStats
}

/** A key that no record can have. */
export class InvalidKeyError extends RangeError {
  readonly key: unknown
  /** The place of the segment that is wrong, from 0. */
  readonly segment: number | undefined
}
export class InvalidTtlError extends RangeError {
  readonly ttl: unknown
  readonly key: Key | undefined
}
export class BadPatternError extends RangeError {
  readonly pattern: unknown
}
/** Another argument that is wrong, found here or by a script. Nothing was written. */
export class BadArgumentError extends RangeError {
  readonly key: Key | undefined
}
/** The records of one atomic call lie in several shards. */
export class CrossShardError extends BadArgumentError {}
/** A condition does not hold. Nothing was written. */
export class ConditionError extends Error {
  /** Of the record or operation in the call, from 0. */
  readonly index: number
  readonly key: Key
}
/** A script is not what SHA1SUMS says, or is not on the server and may not be loaded. */
export class ScriptError extends Error {}
/** Bytes that are no UTF-8 were to be returned as a string. */
export class EncodingError extends Error {
  readonly encoded: string
  readonly bytes: Buffer
}
/** Not all of the records of putEach, deleteEach or touchEach were written. */
export class EachError extends Error {
  readonly done: number
  readonly failed: number
  /** Of the first record that was not written. */
  readonly key: Key
}
