package main

import (
	"context"
	"fmt"

	"github.com/wildkey/wildkey"
)

// runPut measures puts of one record and of ten, of four segments.
func runPut(ctx context.Context, b *bench) error {
	servers, err := b.serversOf(6)
	if err != nil {
		return err
	}
	defer b.stop(servers...)
	cache, err := newCache(ctx, servers[0], namespace)
	if err != nil {
		return err
	}
	store := newReference(servers[1], namespace)
	puts := []putter{
		putWildkey(cache), putReference(store), putSetZadd(servers[2].client),
		putSet(servers[3].client), putGoRedis(newGoRedis(servers[4])), putGocache(newGocache(servers[5])),
	}
	names := []string{nameWildkey, nameReference, nameSetZadd, nameSet, nameGoRedis, nameTag}
	for i, fill := range []putter{puts[0], fillReference(store), puts[2], puts[3], putSet(servers[4].client), putSet(servers[5].client)} {
		if err := load(ctx, deepKeys(4, 0, b.scale.base), fill); err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
	}
	for _, batch := range []int{1, 10} {
		l := line{
			name:    fmt.Sprintf("put-%d", batch),
			title:   fmt.Sprintf("put of %d new record(s) of 4 segments in one call", batch),
			note:    fmt.Sprintf("Into %s records. go-redis/cache and eko/gocache have no call for several records, and no reads by pattern; a tag of gocache is one that the user's records share.", thousands(b.scale.base)),
			metrics: opMetrics, records: b.scale.puts,
		}
		for i, put := range puts {
			l.contenders = append(l.contenders, freshPuts(names[i], servers[i], put, 4, b.scale.base*(1+batch), b.scale.puts, batch))
		}
		if err := b.race(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// runDepth measures puts of one record by the depth of its key.
func runDepth(ctx context.Context, b *bench) error {
	servers, err := b.serversOf(2)
	if err != nil {
		return err
	}
	defer b.stop(servers...)
	for depth := 2; depth <= 8; depth++ {
		namespace := fmt.Sprintf("depth%d", depth)
		cache, err := newCache(ctx, servers[0], namespace)
		if err != nil {
			return err
		}
		store := newReference(servers[1], namespace)
		base := deepKeys(depth, 0, b.scale.depthBase)
		if err := both(
			func() error { return load(ctx, base, putWildkey(cache)) },
			func() error { return load(ctx, base, fillReference(store)) },
		); err != nil {
			return err
		}
		if err := b.race(ctx, line{
			name:    fmt.Sprintf("depth-%d", depth),
			title:   fmt.Sprintf("put of one new record of %d segments", depth),
			note:    fmt.Sprintf("Into %s records; keys have 45 bytes at every depth.", thousands(b.scale.depthBase)),
			x:       float64(depth),
			metrics: opMetrics, records: b.scale.depthPuts,
			contenders: []contender{
				freshPuts(nameWildkey, servers[0], putWildkey(cache), depth, b.scale.depthBase, b.scale.depthPuts, 1),
				freshPuts(nameReference, servers[1], putReference(store), depth, b.scale.depthBase, b.scale.depthPuts, 1),
			},
		}); err != nil {
			return err
		}
	}
	return nil
}

// freshPuts puts count records a round, batch of them a call, each round other
// ones: from the serial first on, so that all contenders put the same.
func freshPuts(name string, s *server, put putter, depth, first, count, batch int) contender {
	var keys []wildkey.Key
	next := first
	return contender{
		name: name, server: s,
		prepare: func(context.Context) error {
			keys = keys[:0]
			for key := range deepKeys(depth, next, count) {
				keys = append(keys, key)
			}
			next += count
			return nil
		},
		run: func(ctx context.Context) (int, error) {
			for i := 0; i < count; i += batch {
				if err := put(ctx, keys[i:i+batch]); err != nil {
					return i, err
				}
			}
			return count, nil
		},
	}
}
