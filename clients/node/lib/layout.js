import { hashTag, shardOfEncoded } from './key.js'

/** How a namespace names its Redis keys: all of a shard begin with its hash tag, and so lie in one hash slot. */
export class Layout {
  #shardSegments

  constructor({ namespace, shards, shardSegments }) {
    this.#shardSegments = shardSegments
    this.tags = Array.from({ length: shards }, (_, shard) => hashTag(namespace, shard, shards, shardSegments))
  }

  /** The shard of an encoded key. */
  shardOf(encoded) {
    return this.tags.length === 1 ? 0 : shardOfEncoded(encoded, this.tags.length, this.#shardSegments)
  }

  /** The shards that may hold matches: one, if there are literals for all segments that choose a shard, else all. */
  shardsOf(terms) {
    const head = terms.slice(0, this.#shardSegments)
    if (head.some((term) => term[0] !== '=')) return [...this.tags.keys()]
    return [this.shardOf(head.map((term) => term.slice(1)).join(':'))]
  }

  /** The Redis key of a record. */
  record(encoded) {
    return `${this.tags[this.shardOf(encoded)]}:${encoded}`
  }

  /** The Redis key of the index of a shard. */
  index(shard) {
    return `${this.tags[shard]}/keys`
  }

  /** The Redis key of a member of the index of a shard: of a record or, with a ! before it, of a lease. */
  member(shard, text) {
    return `${this.tags[shard]}:${text}`
  }
}
