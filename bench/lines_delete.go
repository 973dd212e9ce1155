package main

import (
	"context"
	"fmt"

	gocachestore "github.com/eko/gocache/lib/v4/store"

	"github.com/wildkey/wildkey"
)

// runDelete measures the deletion of all sessions from among many more records.
func runDelete(ctx context.Context, b *bench) error {
	const gone, items, tag = 10, 90, "sessions"
	subjects, err := b.subjects(ctx, namespace)
	if err != nil {
		return err
	}
	plain, err := b.server()
	if err != nil {
		return err
	}
	deleted := userKeys(b.scale.deleteUsers, "session", 0, gone)
	kept := userKeys(b.scale.deleteUsers, "item", 0, items)
	loads := append(loadsOf(ctx, subjects, kept), func() error { return load(ctx, kept, putSet(plain.control)) })
	if err := together(loads...); err != nil {
		return err
	}
	l := line{
		name: "delete",
		title: fmt.Sprintf("DeleteMatch of user:*:session:*, %s records among %s",
			thousands(b.scale.deleteUsers*gone), thousands(b.scale.deleteUsers*(gone+items))),
		note: "eko/gocache deletes what was tagged when it was written, a record a round trip; what expired long ago keeps its " +
			"place in the tag. SCAN MATCH and tags have no index to keep, and delete nothing at once.",
		metrics: matchMetrics, records: b.scale.deleteUsers * gone, cold: true,
	}
	for _, s := range subjects {
		l.contenders = append(l.contenders, contender{
			name: s.name, server: s.server,
			prepare: func(ctx context.Context) error { return load(ctx, deleted, putWildkey(s.cache)) },
			run: func(ctx context.Context) (int, error) {
				return s.cache.DeleteMatch(ctx, wildkey.MustParsePattern(sessions))
			},
		})
	}
	refill := func(ctx context.Context) error { return load(ctx, deleted, putSet(plain.control)) }
	l.contenders = append(l.contenders,
		contender{name: nameUnlink, server: plain,
			prepare: refill,
			run: func(ctx context.Context) (n int, err error) {
				err = scanBatches(ctx, plain.client, func(names []string) error {
					unlinked, err := plain.client.Unlink(ctx, names...).Result()
					n += int(unlinked)
					return err
				})
				return n, err
			},
		},
		contender{name: nameTag, server: plain,
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
	)
	return b.race(ctx, l)
}
