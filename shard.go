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

// shardsOf returns the shards that may hold matches: one, if the pattern has
// literals for all segments that choose a shard, else all.
func (l Layout) shardsOf(p Pattern) []int {
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
		segments = append(segments, term.argument[1:])
	}
	return []int{shardOfHead([]byte(strings.Join(segments, ":")), len(l.shards))}
}

// keysOf returns the KEYS of a script that writes these records: the index of
// their shard, and the records. All must lie in one shard, or it is ErrCrossShard.
func (l Layout) keysOf(keys []Key) ([]string, error) {
	shard := l.Shard(keys[0])
	names := append(make([]string, 0, 1+len(keys)), l.Index(shard))
	for i, key := range keys {
		name, err := key.encode(l.shards[shard].prefix)
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

// walk goes through several shards at a time. Each has its own page and cursor;
// what lies before all the cursors is complete, and goes out in order.
type walk struct {
	cache   *Cache
	query   query
	streams []*stream
}

// stream is how far a walk is in one shard.
type stream struct {
	shard  int
	found  []found
	cursor string
	ended  bool
	limit  int  // of the next page
	short  bool // a page ended at its reads or bytes
}

type found struct {
	Entry
	position string // as a cursor: [ and the encoded key
}

func (c *Cache) newWalk(shards []int, q query, cursor string) *walk {
	// The first pages are small, as the shards share the limit, and grow where
	// records lie together. A limit that match.lua refuses goes to it as it is.
	share := q.limit
	if q.limit <= 99_999 {
		share = min(q.limit, 8+2*q.limit/len(shards))
	}
	w := &walk{cache: c, query: q}
	for _, shard := range shards {
		w.streams = append(w.streams, &stream{shard: shard, cursor: cursor, limit: share})
	}
	return w
}

// merged yields the matches of all shards of the query, in order.
func (c *Cache) merged(ctx context.Context, q query) iter.Seq2[Entry, error] {
	shards := c.layout.shardsOf(q.pattern)
	if len(shards) == 1 {
		return c.entries(ctx, shards[0], q)
	}
	return func(yield func(Entry, error) bool) {
		w := c.newWalk(shards, q, "")
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
// them, in the form that match.lua gives and takes: all matches before it have
// been returned, and each shard goes on from there.
func (c *Cache) mergedPage(ctx context.Context, shards []int, q query, cursor string) (page Page, err error) {
	w := c.newWalk(shards, q, cursor)
	for {
		passed, position, err := w.round(ctx)
		if err != nil {
			return Page{}, err
		}
		if room := q.limit - len(page.Entries); len(passed) > room {
			passed, position = passed[:room], "("+passed[room-1].position[1:]
		}
		for _, match := range passed {
			page.Entries = append(page.Entries, match.Entry)
		}
		page.Cursor = position
		short := slices.ContainsFunc(w.streams, func(s *stream) bool { return s.short })
		if position == "" || len(page.Entries) == q.limit || short {
			return page, nil
		}
	}
}

// round returns the matches that lie before a position which all shards have
// passed, and that position: empty at the end.
func (w *walk) round(ctx context.Context) (passed []found, position string, err error) {
	var hungry []*stream
	for _, s := range w.streams {
		if !s.ended && len(s.found) < max(s.limit/2, 1) {
			hungry = append(hungry, s)
		}
	}
	err = inParallel(ctx, hungry, func(ctx context.Context, s *stream) error {
		q := w.query
		q.limit = s.limit
		page, _, err := w.cache.match(ctx, s.shard, q, s.cursor)
		for _, entry := range page.Entries {
			s.found = append(s.found, found{entry, "[" + entry.Key.String()})
		}
		s.cursor, s.ended = page.Cursor, page.Cursor == ""
		s.short = s.short || !s.ended && len(page.Entries) < s.limit
		s.limit = min(2*s.limit, w.query.limit)
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
	for _, s := range w.streams {
		n := 0
		for n < len(s.found) && (position == "" || comparePositions(s.found[n].position, position) < 0) {
			n++
		}
		passed, s.found = append(passed, s.found[:n]...), s.found[n:]
	}
	slices.SortFunc(passed, func(a, b found) int { return comparePositions(a.position, b.position) })
	return passed, position, nil
}

// comparePositions compares two cursors: [key, at the key, is before (key, behind it.
func comparePositions(a, b string) int {
	return cmp.Or(strings.Compare(a[1:], b[1:]), strings.Compare(b[:1], a[:1]))
}
