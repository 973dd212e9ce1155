package wildkey

import (
	"context"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Shard returns the shard of the key, 0 to shards-1, if its leading segments
// choose one: the CRC-32 of these segments, encoded and joined by colons, modulo
// shards. The CRC-32 is that of IEEE 802.3, which most languages have as zlib's
// crc32: that of "123456789" is 3421780262. If the key has fewer segments, all of
// them are hashed. With shards below 1 the result is 0.
func (k Key) Shard(shards, leading int) int {
	return shardOfHead(k[:max(0, min(leading, len(k)))].append(nil), shards)
}

func shardOfHead(encoded []byte, shards int) int {
	return int(crc32.ChecksumIEEE(encoded) % uint32(max(shards, 1)))
}

// ShardsOf returns the shards that may hold matches of the pattern: one, if it has
// literals for all segments that choose a shard, else all.
func (l Layout) ShardsOf(p Pattern) []int {
	head := p.terms[:min(l.leading, len(p.terms))]
	if slices.ContainsFunc(head, func(t Term) bool { return t.argument[0] != '=' }) {
		all := make([]int, len(l.shards))
		for i := range all {
			all[i] = i
		}
		return all
	}
	var segments []string
	for _, term := range head {
		segments = append(segments, strings.TrimPrefix(term.argument[1:], "!"))
	}
	return []int{shardOfHead([]byte(strings.Join(segments, ":")), len(l.shards))}
}

// shardsOf returns those of them that this Cache asks.
func (c *Cache) shardsOf(p Pattern) []int {
	shards := c.layout.ShardsOf(p)
	if c.only == nil || p.check() != nil { // the first call says so
		return shards
	}
	return slices.DeleteFunc(shards, func(shard int) bool { return shard != *c.only })
}

// keysOf returns the KEYS of a script that writes these records: the index of
// their shard, and the records. All must lie in one shard, or it is ErrCrossShard.
func (c *Cache) keysOf(keys []Key) ([]string, error) {
	if err := c.checkNumber(keys); err != nil || len(keys) == 0 {
		return nil, err
	}
	l := c.layout
	shard := l.Shard(keys[0])
	names := append(make([]string, 0, 1+len(keys)), l.Index(shard))
	for i, key := range keys {
		name, err := key.encode(l.Prefix(shard))
		if err != nil {
			return nil, fmt.Errorf("%w (key %d of the call)", err, i+1)
		}
		if other := l.Shard(key); other != shard {
			return nil, fmt.Errorf("%w: key 1, %s, in %s and key %d, %s, in %s",
				ErrCrossShard, keys[0], l.Tag(shard), i+1, key, l.Tag(other))
		}
		names = append(names, name)
	}
	return names, nil
}

// split returns the places in the list of those keys that lie in each shard.
func (l Layout) split(keys []Key) map[int][]int {
	places := map[int][]int{}
	for i, key := range keys {
		shard := l.Shard(key)
		places[shard] = append(places[shard], i)
	}
	return places
}

// maxParallel is how many shards are asked at a time.
const maxParallel = 16

// inParallel calls f for each of the shards, and returns when all calls have
// ended. It returns the first error, at which the context of the others ends.
func inParallel[T any](ctx context.Context, over []T, f func(context.Context, T) error) error {
	if len(over) == 1 {
		return f(ctx, over[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var first error
	var failed sync.Once
	var workers sync.WaitGroup
	for range min(len(over), maxParallel) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := int(next.Add(1)) - 1; i < len(over); i = int(next.Add(1)) - 1 {
				if err := f(ctx, over[i]); err != nil {
					failed.Do(func() { first = err; cancel() })
				}
			}
		}()
	}
	workers.Wait()
	return first
}

// sum adds up what f returns for each of the shards.
func sum(ctx context.Context, shards []int, f func(context.Context, int) (int, error)) (int, error) {
	var total atomic.Int64
	err := inParallel(ctx, shards, func(ctx context.Context, shard int) error {
		n, err := f(ctx, shard)
		total.Add(int64(n))
		return err
	})
	return int(total.Load()), err
}

// merge yields the matches of several shards in order, from a cursor on. The
// first pages are asked for in parallel, and are small, as the shards share the
// limit; those behind them grow where records lie together.
func (c *Cache) merge(ctx context.Context, shards []int, q query, cursor string) iter.Seq2[Entry, error] {
	if len(shards) == 1 {
		return c.entries(ctx, shards[0], q, cursor)
	}
	return func(yield func(Entry, error) bool) {
		if len(shards) == 0 { // of OnShard, where another shard would be asked
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if q.limit <= 99_999 { // match.lua refuses a larger one
			q.first = min(q.limit, 8+2*q.limit/len(shards))
		}
		heads := make([]*head, len(shards))
		for i, shard := range shards {
			next, stop := iter.Pull2(c.entries(ctx, shard, q, cursor))
			defer stop()
			heads[i] = &head{next: next}
		}
		err := inParallel(ctx, heads, func(first context.Context, h *head) error {
			// A failure ends the calls of the other shards once it is the one to be reported.
			defer context.AfterFunc(first, cancel)()
			return h.advance()
		})
		if err != nil {
			yield(Entry{}, err)
			return
		}
		heads = slices.DeleteFunc(heads, func(h *head) bool { return h.ended })
		slices.SortFunc(heads, compareHeads)
		for len(heads) > 0 {
			least := heads[0]
			if !yield(least.entry, nil) {
				return
			}
			if err := least.advance(); err != nil {
				yield(Entry{}, err)
				return
			}
			if heads = heads[1:]; !least.ended {
				place, _ := slices.BinarySearchFunc(heads, least, compareHeads)
				heads = slices.Insert(heads, place, least)
			}
		}
	}
}

// head is the next match in one shard.
type head struct {
	next    func() (Entry, error, bool)
	entry   Entry
	encoded string
	ended   bool
}

func (h *head) advance() (err error) {
	var ok bool
	h.entry, err, ok = h.next()
	h.encoded, h.ended = h.entry.Key.String(), !ok
	return err
}

func compareHeads(a, b *head) int { return strings.Compare(a.encoded, b.encoded) }
