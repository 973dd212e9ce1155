package main

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/reference"
)

// growing is a namespace with a fixed number of sessions among ever more other
// records, held by Wildkey and by the reference.
type growing struct {
	wildkey, reference *server
	cache              *wildkey.Cache
	written, tuned     *reference.Store
	items              int // of each user, so far
}

// grow brings the namespace to this many items a user. Peers that can use
// Wildkey's records, such as SCAN, do; the reference is filled if asked for.
func (b *bench) grow(ctx context.Context, items int, withReference bool) (*growing, error) {
	g := b.growing
	fresh := joined(
		userKeys(b.scale.users, "session", 0, b.scale.sessions),
		userKeys(b.scale.users, "item", 0, items))
	if g == nil {
		servers, err := b.serversOf(2)
		if err != nil {
			return nil, err
		}
		g = &growing{wildkey: servers[0], reference: servers[1]}
		if g.cache, err = newCache(ctx, g.wildkey, namespace); err != nil {
			return nil, err
		}
		g.written, g.tuned = newReference(g.reference, namespace), newReference(g.reference, namespace)
		g.tuned.Count = 1_000
		b.growing = g
	} else {
		fresh = userKeys(b.scale.users, "item", g.items, items)
	}
	log.Printf("loading up to %d items a user", items)
	g.items = max(g.items, items)
	return g, both(
		func() error { return load(ctx, fresh, putWildkey(g.cache)) },
		func() error {
			if !withReference {
				return nil
			}
			return load(ctx, fresh, fillReference(g.written))
		})
}

// runSize measures one pattern with a fixed number of matches in a namespace
// that grows, and the sessions of one user in the same.
func runSize(ctx context.Context, b *bench) error {
	for _, items := range b.scale.items {
		g, err := b.grow(ctx, items, true)
		if err != nil {
			return err
		}
		size, matches := b.scale.users*(b.scale.sessions+items), b.scale.users*b.scale.sessions
		if err := b.race(ctx, line{
			name:    fmt.Sprintf("size-%d", size),
			title:   fmt.Sprintf("user:*:session:*, %s matches among %s records", thousands(matches), thousands(size)),
			note:    fmt.Sprintf("%s users × (%d sessions + %s other records).", thousands(b.scale.users), b.scale.sessions, thousands(items)),
			x:       float64(size),
			metrics: matchMetrics, records: matches, cold: true,
			contenders: []contender{
				{name: nameWildkey, server: g.wildkey, run: all(g.cache, "user:*:session:*")},
				{name: nameTuned, server: g.reference, run: allOf(g.tuned, "user", reference.Wild, "session", reference.Wild)},
				{name: nameWritten, server: g.reference, run: allOf(g.written, "user", reference.Wild, "session", reference.Wild)},
				{name: nameScan, server: g.wildkey, run: scanMget(g.wildkey.client, "{"+namespace+"}:user:*:session:*")},
			},
		}); err != nil {
			return err
		}
		const repeats = 1_000
		if err := b.race(ctx, line{
			name:    fmt.Sprintf("user-%d", size),
			title:   fmt.Sprintf("one user's %d sessions among %s records", b.scale.sessions, thousands(size)),
			note:    fmt.Sprintf("Per session; a round is the sessions of %s users, one after another.", thousands(repeats)),
			x:       float64(size),
			metrics: opMetrics, records: repeats * b.scale.sessions,
			contenders: []contender{
				{name: nameWildkey, server: g.wildkey, run: everyUser(b, repeats, func(user string) runner {
					return all(g.cache, "user:"+user+":session:*")
				})},
				{name: nameReference, server: g.reference, run: everyUser(b, repeats, func(user string) runner {
					return allOf(g.written, "user", user, "session", reference.Wild)
				})},
			},
		}); err != nil {
			return err
		}
	}
	b.stop(b.growing.reference)
	return nil
}

// runAllMatch measures the pattern where there is nothing to leap over.
func runAllMatch(ctx context.Context, b *bench) error {
	servers, err := b.serversOf(2)
	if err != nil {
		return err
	}
	defer b.stop(servers...)
	cache, err := newCache(ctx, servers[0], namespace)
	if err != nil {
		return err
	}
	written, tuned := newReference(servers[1], namespace), newReference(servers[1], namespace)
	tuned.Count = 1_000
	keys := userKeys(b.scale.sessionUsers, "session", 0, b.scale.sessions)
	if err := both(
		func() error { return load(ctx, keys, putWildkey(cache)) },
		func() error { return load(ctx, keys, fillReference(written)) },
	); err != nil {
		return err
	}
	var names []string
	for key := range keys {
		names = append(names, redisName(key))
	}
	return b.race(ctx, line{
		name:    "allmatch",
		title:   fmt.Sprintf("user:*:session:*, all of %s records match", thousands(len(names))),
		note:    "MGET is the floor: names known beforehand, 1,000 a call.",
		metrics: slices.Concat(matchMetrics, []metric{allocs}), records: len(names),
		contenders: []contender{
			{name: nameWildkey, server: servers[0], run: all(cache, "user:*:session:*")},
			{name: nameMget, server: servers[0], run: func(ctx context.Context) (n int, err error) {
				for batch := range slices.Chunk(names, 1_000) {
					live, err := mget(ctx, servers[0].client, batch)
					if err != nil {
						return n, err
					}
					n += live
				}
				return n, nil
			}},
			{name: nameTuned, server: servers[1], run: allOf(tuned, "user", reference.Wild, "session", reference.Wild)},
			{name: nameWritten, server: servers[1], run: allOf(written, "user", reference.Wild, "session", reference.Wild)},
			{name: nameScan, server: servers[0], run: scanMget(servers[0].client, "{"+namespace+"}:user:*:session:*")},
		},
	})
}

// A runner does the work of a round and says how many records it met.
type runner = func(context.Context) (int, error)

func all(cache *wildkey.Cache, pattern string) runner {
	return func(ctx context.Context) (int, error) {
		entries, err := cache.All(ctx, wildkey.MustParsePattern(pattern))
		return len(entries), err
	}
}

func allOf(store *reference.Store, pattern ...string) runner {
	return func(ctx context.Context) (int, error) {
		records, err := store.All(ctx, pattern)
		return len(records), err
	}
}

func scanMget(client *redis.Client, match string) runner {
	return func(ctx context.Context) (n int, err error) {
		err = scanBatches(ctx, client, match, func(names []string) error {
			live, err := mget(ctx, client, names)
			n += live
			return err
		})
		return n, err
	}
}

func mget(ctx context.Context, client *redis.Client, names []string) (live int, err error) {
	values, err := client.MGet(ctx, names...).Result()
	for _, value := range values {
		if value != nil {
			live++
		}
	}
	return live, err
}

// everyUser does it for one user after another, repeats times.
func everyUser(b *bench, repeats int, of func(user string) runner) runner {
	return func(ctx context.Context) (total int, err error) {
		for i := range repeats {
			n, err := of(userKey(i%b.scale.users, "session", 0)[1])(ctx)
			if total += n; err != nil {
				return total, err
			}
		}
		return total, nil
	}
}
