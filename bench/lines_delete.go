package main

import (
	"context"
	"fmt"

	gocachestore "github.com/eko/gocache/lib/v4/store"

	"github.com/wildkey/wildkey"
)

// runDelete measures the deletion of all sessions from among many more records.
func runDelete(ctx context.Context, b *bench) error {
	const sessions, items, tag = 10, 90, "sessions"
	servers, err := b.serversOf(2)
	if err != nil {
		return err
	}
	defer b.stop(servers...)
	own, plain := servers[0], servers[1]
	cache, err := newCache(ctx, own, namespace)
	if err != nil {
		return err
	}
	deleted := userKeys(b.scale.deleteUsers, "session", 0, sessions)
	kept := userKeys(b.scale.deleteUsers, "item", 0, items)
	if err := both(
		func() error { return load(ctx, kept, putWildkey(cache)) },
		func() error { return load(ctx, kept, putSet(plain.control)) },
	); err != nil {
		return err
	}
	pattern := wildkey.MustParsePattern("user:*:session:*")
	refill := func(ctx context.Context) error { return load(ctx, deleted, putSet(plain.control)) }
	return b.race(ctx, line{
		name: "delete",
		title: fmt.Sprintf("DeleteMatch of user:*:session:*, %s records among %s",
			thousands(b.scale.deleteUsers*sessions), thousands(b.scale.deleteUsers*(sessions+items))),
		note: "eko/gocache deletes what was tagged when it was written, a record a round trip; what expired long ago keeps its " +
			"place in the tag. SCAN MATCH and tags have no index to keep, and delete nothing at once.",
		metrics: matchMetrics, records: b.scale.deleteUsers * sessions, cold: true,
		contenders: []contender{
			{name: nameWildkey, server: own,
				prepare: func(ctx context.Context) error { return load(ctx, deleted, putWildkey(cache)) },
				run:     func(ctx context.Context) (int, error) { return cache.DeleteMatch(ctx, pattern) },
			},
			{name: nameUnlink, server: plain,
				prepare: refill,
				run: func(ctx context.Context) (n int, err error) {
					err = scanBatches(ctx, plain.client, "{"+namespace+"}:user:*:session:*", func(names []string) error {
						unlinked, err := plain.client.Unlink(ctx, names...).Result()
						n += int(unlinked)
						return err
					})
					return n, err
				},
			},
			{name: nameTag, server: plain,
				prepare: func(ctx context.Context) error {
					if err := refill(ctx); err != nil {
						return err
					}
					// What gocache's Set leaves behind for a tag, in fewer round trips.
					return load(ctx, deleted, func(ctx context.Context, keys []wildkey.Key) error {
						names := make([]any, len(keys))
						for i, key := range keys {
							names[i] = redisName(key)
						}
						return plain.control.SAdd(ctx, "gocache_tag_"+tag, names...).Err()
					})
				},
				run: func(ctx context.Context) (int, error) {
					before, err := plain.control.DBSize(ctx).Result()
					if err != nil {
						return 0, err
					}
					if err := newGocache(plain).Invalidate(ctx, gocachestore.WithInvalidateTags([]string{tag})); err != nil {
						return 0, err
					}
					after, err := plain.control.DBSize(ctx).Result()
					return int(before-after) - 1, err // the tag goes too
				},
			},
		},
	})
}
