package wildkey

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Shard returns the shard that the key lies in, 0 to shards-1, where the first
// leading segments choose it: the CRC-32 of those segments, encoded and joined
// by colons, modulo shards. The CRC-32 is that of IEEE 802.3, which most
// languages have as zlib's crc32: that of "123456789" is 3421780262. A key of
// fewer segments is hashed whole.
func (k Key) Shard(shards, leading int) int {
	return shardOfHead(k[:min(leading, len(k))].append(nil), shards)
}

func shardOfHead(encoded []byte, shards int) int {
	return int(crc32.ChecksumIEEE(encoded) % uint32(shards))
}

// shard is what lies under one hash tag, and so in one hash slot.
type shard struct {
	prefix  string   // {ns}: of {ns}:<encoded key>; of several shards {ns#0}:, {ns#1}: ...
	indexes []string // the order index and the expiry index
}

func newShards(namespace string, n int) []shard {
	encoded, shards := string(appendEncoded(nil, namespace)), make([]shard, n)
	for i := range shards {
		tag := "{" + encoded + "}"
		if n > 1 {
			tag = fmt.Sprintf("{%s#%d}", encoded, i)
		}
		shards[i] = shard{tag + ":", []string{tag + "/keys", tag + "/expiry"}}
	}
	return shards
}

// names returns the KEYS of a script: the indexes, and then these records.
func (s *shard) names(keys []Key) ([]string, error) {
	names := append(make([]string, 0, len(s.indexes)+len(keys)), s.indexes...)
	for i, key := range keys {
		name, err := key.encode(s.prefix)
		if err != nil {
			return nil, fmt.Errorf("%w (key %d of the call)", err, i+1)
		}
		names = append(names, name)
	}
	return names, nil
}

func (c *Cache) shardOf(key Key) *shard { return &c.shards[c.shardNumber(key)] }

func (c *Cache) shardNumber(key Key) int {
	if len(c.shards) == 1 {
		return 0
	}
	return key.Shard(len(c.shards), c.options.ShardSegments)
}

// shardsOf returns the shards in which there may be matches: one, if literals
// are all that its keys are hashed by, else all.
func (c *Cache) shardsOf(p Pattern) []shard {
	head := p.terms[:min(c.options.ShardSegments, len(p.terms))]
	if len(c.shards) == 1 || slices.ContainsFunc(head, func(t Term) bool { return t.argument[0] != '=' }) {
		return c.shards
	}
	var segments []string
	for _, term := range head {
		segments = append(segments, term.argument[1:])
	}
	i := shardOfHead([]byte(strings.Join(segments, ":")), len(c.shards))
	return c.shards[i : i+1]
}

// checkShard returns ErrCrossShard unless all keys lie in s.
func (c *Cache) checkShard(s *shard, keys []Key) error {
	for i := 1; i < len(keys) && len(c.shards) > 1; i++ {
		if other := c.shardOf(keys[i]); other != s {
			return fmt.Errorf("%w: key 1, %s, in %s and key %d, %s, in %s",
				ErrCrossShard, keys[0], s.tag(), i+1, keys[i], other.tag())
		}
	}
	return nil
}

func (s *shard) tag() string { return strings.TrimSuffix(s.prefix, ":") }

// part is what a list of keys has in one shard.
type part struct {
	shard  *shard
	keys   []Key
	places []int // of the keys in the list
}

func (c *Cache) split(keys []Key) []part {
	parts := make([]part, len(c.shards))
	for i, key := range keys {
		n := c.shardNumber(key)
		parts[n] = part{&c.shards[n], append(parts[n].keys, key), append(parts[n].places, i)}
	}
	return slices.DeleteFunc(parts, func(p part) bool { return p.shard == nil })
}

// maxParallel is how many shards are asked at a time.
const maxParallel = 16

// inParallel calls f for 0 to n-1 and returns when all calls have ended, with
// the first error, at which the context of the others ends.
func inParallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	if n == 1 {
		return f(ctx, 0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var first error
	var failed sync.Once
	var workers sync.WaitGroup
	for range min(n, maxParallel) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f(ctx, i); err != nil {
					failed.Do(func() { first = err; cancel() })
				}
			}
		}()
	}
	workers.Wait()
	return first
}

// sum adds up what f returns for each of them, shards or nodes.
func sum[T any](ctx context.Context, over []T, f func(context.Context, *T) (int, error)) (total int, err error) {
	counts := make([]int, len(over))
	err = inParallel(ctx, len(over), func(ctx context.Context, i int) (err error) {
		counts[i], err = f(ctx, &over[i])
		return err
	})
	for _, count := range counts {
		total += count
	}
	return total, err
}

// merged yields what match.lua finds in all shards of the pattern, in order.
func (c *Cache) merged(ctx context.Context, want string, pattern Pattern) iter.Seq2[Entry, error] {
	shards := c.shardsOf(pattern)
	if len(shards) == 1 {
		return c.entries(ctx, &shards[0], want, pattern)
	}
	return func(yield func(Entry, error) bool) {
		w := c.newWalk(shards, want, pattern, "", c.options.PageLimit)
		for more := true; more; {
			passed, position, err := w.round(ctx)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, match := range passed {
				if !yield(match.Entry, nil) {
					return
				}
			}
			more = position != ""
		}
	}
}

// mergedPage is a Page of several shards. Its cursor is one position for all of
// them, in the form that match.lua gives and takes: all that lies before it has
// been returned, and each shard goes on from there.
func (c *Cache) mergedPage(
	ctx context.Context, shards []shard, pattern Pattern, cursor string, limit int,
) (page Page, err error) {
	w := c.newWalk(shards, "values", pattern, cursor, limit)
	for {
		passed, position, err := w.round(ctx)
		if err != nil {
			return Page{}, err
		}
		if room := limit - len(page.Entries); len(passed) > room {
			passed, position = passed[:room], "("+passed[room-1].position[1:]
		}
		for _, match := range passed {
			page.Entries = append(page.Entries, match.Entry)
		}
		page.Cursor = position
		short := slices.ContainsFunc(w.streams, func(s stream) bool { return s.short })
		if position == "" || len(page.Entries) == limit || short {
			return page, nil
		}
	}
}

// walk goes through several shards at a time. Each has its own page and cursor;
// what lies before all the cursors is complete, and goes out in order.
type walk struct {
	cache   *Cache
	want    string
	pattern Pattern
	limit   int
	streams []stream
}

// stream is how far a walk is in one shard.
type stream struct {
	shard  *shard
	found  []match
	cursor string
	ended  bool
	limit  int  // of the next page
	short  bool // a page ended at its reads or bytes
}

type match struct {
	Entry
	position string // as a cursor: [ and the encoded key
}

func (c *Cache) newWalk(shards []shard, want string, pattern Pattern, cursor string, limit int) *walk {
	// The first pages are small, as the shards share the limit, and grow where
	// records lie together. What match.lua refuses goes to it as it is.
	share := limit
	if limit <= 99_999 {
		share = min(limit, 8+2*limit/len(shards))
	}
	w := &walk{c, want, pattern, limit, make([]stream, len(shards))}
	for i := range shards {
		w.streams[i] = stream{shard: &shards[i], cursor: cursor, limit: share}
	}
	return w
}

// round returns the matches that lie before a position which all shards have
// passed, and that position: empty at the end.
func (w *walk) round(ctx context.Context) (passed []match, position string, err error) {
	var hungry []*stream
	for i := range w.streams {
		if s := &w.streams[i]; !s.ended && len(s.found) < max(s.limit/2, 1) {
			hungry = append(hungry, s)
		}
	}
	err = inParallel(ctx, len(hungry), func(ctx context.Context, i int) error {
		s := hungry[i]
		page, _, err := w.cache.match(ctx, s.shard, w.want, w.pattern, s.cursor, s.limit)
		for _, entry := range page.Entries {
			s.found = append(s.found, match{entry, "[" + entry.Key.String()})
		}
		s.cursor, s.ended = page.Cursor, page.Cursor == ""
		s.short = s.short || !s.ended && len(page.Entries) < s.limit
		s.limit = min(2*s.limit, w.limit)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	for _, s := range w.streams {
		if !s.ended && (position == "" || comparePositions(s.cursor, position) < 0) {
			position = s.cursor
		}
	}
	for i := range w.streams {
		s, n := &w.streams[i], 0
		for n < len(s.found) && (position == "" || comparePositions(s.found[n].position, position) < 0) {
			n++
		}
		passed, s.found = append(passed, s.found[:n]...), s.found[n:]
	}
	slices.SortFunc(passed, func(a, b match) int { return comparePositions(a.position, b.position) })
	return passed, position, nil
}

// comparePositions compares two cursors: [key, at the key, is before (key, behind it.
func comparePositions(a, b string) int {
	return cmp.Or(strings.Compare(a[1:], b[1:]), strings.Compare(b[:1], a[:1]))
}
