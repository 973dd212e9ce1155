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

// Shard returns the shard of the key, 0 to shards-1. The shard is the CRC-32 of the
// leading segments, encoded and joined by colons, modulo shards. If the key has fewer
// segments, Shard hashes all of them. The CRC-32 is the one of IEEE 802.3, which most
// languages offer as zlib's crc32: for "123456789" it is 3421780262. If shards is below
// 1, the result is 0.
func (k Key) Shard(shards, leading int) int {
	return shardOfHead(k[:max(0, min(leading, len(k)))].append(nil), shards)
}

func shardOfHead(encoded []byte, shards int) int {
	return int(crc32.ChecksumIEEE(encoded) % uint32(max(shards, 1)))
}

// ShardsOf returns the shards that may hold matches of the pattern: one shard if literals
// fix all segments that choose it, otherwise all shards.
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

// shardsOf returns the shards that this Cache asks for matches of the pattern.
func (c *Cache) shardsOf(p Pattern) []int {
	shards := c.layout.ShardsOf(p)
	if c.only == nil || p.check() != nil { // the first call reports an invalid pattern
		return shards
	}
	return slices.DeleteFunc(shards, func(shard int) bool { return shard != *c.only })
}

// keysOf returns the KEYS of a script that writes these records: the index of their shard
// and the records. It returns ErrCrossShard unless all of them lie in one shard.
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

// split groups the places of the keys in the list by shard.
func (l Layout) split(keys []Key) map[int][]int {
	places := map[int][]int{}
	for i, key := range keys {
		shard := l.Shard(key)
		places[shard] = append(places[shard], i)
	}
	return places
}

// maxParallel is how many shards a call asks at a time.
const maxParallel = 16

// inParallel calls f for each item and returns when all calls have ended. It returns the
// first error, which also cancels the context of the other calls.
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

// sum adds up the results of f for all shards.
func sum(ctx context.Context, shards []int, f func(context.Context, int) (int, error)) (int, error) {
	var total atomic.Int64
	err := inParallel(ctx, shards, func(ctx context.Context, shard int) error {
		n, err := f(ctx, shard)
		total.Add(int64(n))
		return err
	})
	return int(total.Load()), err
}

// merge yields the matches of several shards in order, starting at a cursor. It asks for
// the first page of each shard in parallel. These pages are small because the shards
// share the limit; later pages grow.
func (c *Cache) merge(ctx context.Context, shards []int, q query, cursor string) iter.Seq2[Entry, error] {
	if len(shards) == 1 {
		return c.entries(ctx, shards[0], q, cursor)
	}
	return func(yield func(Entry, error) bool) {
		if len(shards) == 0 { // OnShard chose a shard that has no matches
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
			// The first failure cancels the calls of the other shards. By then it is the one reported.
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

// head holds the next match of one shard.
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
