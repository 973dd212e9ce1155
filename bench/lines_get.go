package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/wildkey/wildkey"
)

// runGet measures reads by key, of one record and of many. All contenders read
// the same records of one server; those that take names get them ready made.
func runGet(ctx context.Context, b *bench) error {
	s, cache, err := b.filled(ctx)
	if err != nil {
		return err
	}
	keys := b.keysToGet()
	names := redisNames(keys)
	goRedis, gocache := newGoRedis(s), newGocache(s)
	if err := b.race(ctx, line{
		name:    "get",
		title:   "get of one record",
		note:    fmt.Sprintf("Of %s records. Wildkey encodes its key each time; the others are given names ready made.", thousands(b.scale.base)),
		metrics: opMetrics, records: len(names),
		// So close a race needs more rounds than others, and can afford them.
		rounds: 4*b.rounds + 1,
		contenders: []contender{
			{name: nameWildkey, server: s, run: each(len(names), func(ctx context.Context, i int) error {
				_, err := cache.Get(ctx, keys[i])
				return err
			})},
			{name: nameGet, server: s, run: each(len(names), func(ctx context.Context, i int) error {
				_, err := s.client.Get(ctx, names[i]).Bytes()
				return err
			})},
			{name: nameGoRedis, server: s, run: each(len(names), func(ctx context.Context, i int) error {
				var value []byte
				return goRedis.Get(ctx, names[i], &value)
			})},
			{name: nameGocache, server: s, run: each(len(names), func(ctx context.Context, i int) error {
				_, err := gocache.Get(ctx, names[i])
				return err
			})},
		},
	}); err != nil {
		return err
	}

	const batch = 100
	return b.race(ctx, line{
		name:    "getmany",
		title:   fmt.Sprintf("get of %d records in one call", batch),
		note:    "MGET is given names ready made.",
		metrics: opMetrics, records: 10 * len(names),
		rounds: 2*b.rounds + 1,
		contenders: []contender{
			{name: nameWildkey, server: s, run: tenfold(func(ctx context.Context) (n int, err error) {
				for batch := range slices.Chunk(keys, batch) {
					values, err := cache.GetMany(ctx, batch...)
					if err != nil {
						return n, err
					}
					n += len(values)
				}
				return n, nil
			})},
			{name: nameMget, server: s, run: tenfold(func(ctx context.Context) (n int, err error) {
				for batch := range slices.Chunk(names, batch) {
					live, err := mget(ctx, s.client, batch)
					if err != nil {
						return n, err
					}
					n += live
				}
				return n, nil
			})},
		},
	})
}

// keysToGet are those of the records read in a round, the same in every run.
func (b *bench) keysToGet() []wildkey.Key {
	chance := rand.New(rand.NewPCG(1, 2))
	keys := make([]wildkey.Key, b.scale.gets)
	for i := range keys {
		keys[i] = deepKey(4, chance.IntN(b.scale.base))
	}
	return keys
}

// each gets n records, one after another.
func each(n int, get func(ctx context.Context, i int) error) runner {
	return func(ctx context.Context) (int, error) {
		for i := range n {
			if err := get(ctx, i); err != nil {
				return i, err
			}
		}
		return n, nil
	}
}

// tenfold makes a round of what is too short for one.
func tenfold(run runner) runner {
	return func(ctx context.Context) (total int, err error) {
		for range 10 {
			n, err := run(ctx)
			if total += n; err != nil {
				return total, err
			}
		}
		return total, nil
	}
}

// filled starts a server for those who only read. It holds the base records.
func (b *bench) filled(ctx context.Context) (*server, *wildkey.Cache, error) {
	s, err := b.server()
	if err != nil {
		return nil, nil, err
	}
	cache, err := newCache(ctx, s.client, namespace)
	if err != nil {
		return nil, nil, err
	}
	return s, cache, load(ctx, deepKeys(4, 0, b.scale.base), putWildkey(cache))
}
