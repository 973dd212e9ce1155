package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// What one call may do at default bounds.
const (
	maxRecords = 250
	pageLimit  = 500
	pageReads  = 1_000
)

// runCalls looks for the longest call of any script at default bounds, in the
// largest namespace: each verb as large as one call of it may be.
func runCalls(ctx context.Context, b *bench) error {
	items := b.scale.items[len(b.scale.items)-1]
	if b.growing == nil {
		if _, err := b.grow(ctx, items, false); err != nil {
			return err
		}
	}
	g := b.growing
	c := calls{cache: g.cache, server: g.wildkey, client: g.wildkey.client}
	size := b.scale.users * (b.scale.sessions + items)
	l := line{
		name:  "calls",
		title: fmt.Sprintf("the longest call of a script, default bounds, %s records", thousands(size)),
		note: fmt.Sprintf("SLOWLOG's duration of the longest call of a round; min and max are over rounds, here %d; 0: below %v. "+
			"A call that the machine interrupts is as long as the interruption.", 2*b.rounds+1, slowlogThreshold),
		metrics: []metric{longestMs, wallMs, trips},
		rounds:  2*b.rounds + 1,
		contenders: []contender{
			c.verb("Put, 250 new records", nil, c.put("new", time.Hour)),
			c.verb("Put, 250 records again", nil, c.put("new", time.Hour)),
			c.verb("Put, 250 new records, purging 564", c.expire, c.put("new", time.Hour)),
			c.verb("Touch, 250 records", nil, c.named(func(ctx context.Context, keys []wildkey.Key) (int, error) {
				return c.cache.Touch(ctx, 2*time.Hour, keys...)
			})),
			c.verb("Reindex, a call for 250 records", nil, c.keep),
			c.verb("Delete, 250 records", nil, c.named(func(ctx context.Context, keys []wildkey.Key) (int, error) {
				return c.cache.Delete(ctx, keys...)
			})),
			c.verb("Page, 500 matches in a row", nil, c.page("user:**")),
			c.verb("Page, 1 MiB", c.putLarge, c.page("large:**")),
			c.verb("Match, user:*:session:*, all pages", nil, all(g.cache, "user:*:session:*")),
			c.verb("Match, user:*:*:0, nothing but leaps", nil, all(g.cache, "user:*:*:0")),
			c.verb("Match, user:*:*:z*, nothing but leaps", nil, all(g.cache, "user:*:*:z*")),
			c.verb("MatchKeys, user:00000*:item:*", nil, c.keys("user:00000*:item:*")),
			c.verb("Count, user:00000*:item:*", nil, func(ctx context.Context) (int, error) {
				return g.cache.Count(ctx, wildkey.MustParsePattern("user:00000*:item:*"))
			}),
			c.verb("sweep of 1,000 suspects", c.vanish, all(g.cache, "gone:**")),
			c.verb("sweep of 250 expired", c.expire, c.sweep),
			c.verb("TouchMatch, user:0000*:session:**", nil, func(ctx context.Context) (int, error) {
				return g.cache.TouchMatch(ctx, ttl, wildkey.MustParsePattern("user:0000*:session:**"))
			}),
		},
	}
	err := b.race(ctx, l)
	b.stop(g.wildkey, g.reference)
	b.growing = nil
	return err
}

// calls are the verbs, each in one call as large as may be.
type calls struct {
	cache  *wildkey.Cache
	server *server
	client *redis.Client
}

func (c calls) verb(name string, prepare func(context.Context) error, run runner) contender {
	return contender{name: name, server: c.server, prepare: prepare, run: run}
}

// some are n keys of a kind that nothing else has.
func some(n int, kind string) []wildkey.Key {
	keys := make([]wildkey.Key, n)
	for i := range keys {
		keys[i] = wildkey.K(kind, i%7, token(uint64(i), 37-len(kind)))
	}
	return keys
}

func (c calls) put(kind string, ttl time.Duration) runner {
	return c.putMany(maxRecords, kind, value, ttl)
}

// putMany puts n records, as many a call as one may.
func (c calls) putMany(n int, kind string, value []byte, ttl time.Duration) runner {
	return func(ctx context.Context) (int, error) {
		for keys := range slices.Chunk(some(n, kind), maxRecords) {
			var records []wildkey.Record
			for _, key := range keys {
				records = append(records, wildkey.Record{Key: key, Value: value, TTL: ttl})
			}
			if err := c.cache.Put(ctx, records...); err != nil {
				return 0, err
			}
		}
		return n, nil
	}
}

func (c calls) named(act func(context.Context, []wildkey.Key) (int, error)) runner {
	return func(ctx context.Context) (int, error) { return act(ctx, some(maxRecords, "new")) }
}

func (c calls) page(pattern string) runner {
	return func(ctx context.Context) (int, error) {
		page, err := c.cache.Page(ctx, wildkey.MustParsePattern(pattern), "", 0)
		return len(page.Entries), err
	}
}

func (c calls) keys(pattern string) runner {
	return func(ctx context.Context) (n int, err error) {
		for _, err := range c.cache.MatchKeys(ctx, wildkey.MustParsePattern(pattern)) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
}

// putLarge puts records of which a page holds as many as fit 1 MiB.
func (c calls) putLarge(ctx context.Context) error {
	_, err := c.putMany(pageLimit, "large", []byte(strings.Repeat("x", 3_000)), time.Hour)(ctx)
	return err
}

// expire leaves more expired index entries than any call purges.
func (c calls) expire(ctx context.Context) error {
	const life = 500 * time.Millisecond
	if _, err := c.putMany(4*maxRecords, "old", value, life)(ctx); err != nil {
		return err
	}
	time.Sleep(life + 10*time.Millisecond)
	return nil
}

// vanish deletes records by hand, so that a page meets nothing but stale
// entries, as many as it may read.
func (c calls) vanish(ctx context.Context) error {
	if _, err := c.putMany(pageReads, "gone", value, time.Hour)(ctx); err != nil {
		return err
	}
	return c.client.Unlink(ctx, redisNames(some(pageReads, "gone"))...).Err()
}

// sweep calls the script as Cache.Sweep does first.
func (c calls) sweep(ctx context.Context) (int, error) {
	counts, err := c.script(ctx, "sweep", nil, maxRecords).Int64Slice()
	if err != nil || len(counts) != 2 {
		return 0, fmt.Errorf("sweep: %v, %w", counts, err)
	}
	return int(counts[0]), nil
}

// keep calls the script as Cache.Reindex does for the records that it has found.
func (c calls) keep(ctx context.Context) (int, error) {
	names := redisNames(some(maxRecords, "new"))
	return c.script(ctx, "touch", names, slices.Repeat([]any{"keep"}, len(names))...).Int()
}

func (c calls) script(ctx context.Context, name string, names []string, args ...any) *redis.Cmd {
	scripts := wildkey.Scripts()
	script := scripts[slices.IndexFunc(scripts, func(s wildkey.Script) bool { return s.Name == name })]
	indexes := []string{"{" + namespace + "}/keys", "{" + namespace + "}/expiry"}
	return c.client.EvalSha(ctx, script.SHA1, append(indexes, names...), args...)
}
