package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/wildkey/wildkey"
)

// runNight measures puts into an index that is stale for the most part, as it is
// after a night in which everything has expired.
func runNight(ctx context.Context, b *bench) error {
	result := Result{
		Line: "night",
		Title: fmt.Sprintf("%s puts of one record, into the entries of %s that are gone",
			thousands(b.scale.nightPuts), thousands(b.scale.nightUsers*recordsPerUser)),
		Note: "The old records are deleted by hand, which leaves of them what expiry leaves. The new ones are put one a call. " +
			"Their users are drawn by chance, or each has another user, behind all others in byte order. In the last two rows as " +
			"many live records as are gone lie among them. Measured once.",
		Apart:   true,
		Metrics: []string{indexEntries.name, stalePercent.name, cpuUs.name, longestMs.name},
	}
	for _, beside := range []bool{false, true} {
		for _, ascending := range []bool{false, true} {
			row := Row{Name: nightName(beside, ascending)}
			log.Printf("night: %s", row.Name)
			sample, err := b.night(ctx, beside, ascending)
			if err != nil {
				return fmt.Errorf("%s: %w", row.Name, err)
			}
			row.Samples = []Sample{sample}
			result.Rows = append(result.Rows, row)
			b.stopServers()
		}
	}
	b.add(result)
	return nil
}

func nightName(beside, ascending bool) string {
	name := "keys by chance"
	if ascending {
		name = "ascending keys"
	}
	if beside {
		name += ", live records beside"
	}
	return name
}

func (b *bench) night(ctx context.Context, beside, ascending bool) (sample Sample, err error) {
	s, err := b.server()
	if err != nil {
		return sample, err
	}
	cache, err := newCache(ctx, s.client, namespace)
	if err != nil {
		return sample, err
	}
	gone := userKeys(b.scale.nightUsers, "session", 0, recordsPerUser)
	records := gone
	if beside {
		records = joined(gone, userKeys(b.scale.nightUsers, "item", 0, recordsPerUser))
	}
	if err := load(ctx, records, putWildkey(cache)); err != nil {
		return sample, err
	}
	if err := load(ctx, gone, func(ctx context.Context, keys []wildkey.Key) error {
		return s.control.Unlink(ctx, redisNames(keys)...).Err()
	}); err != nil {
		return sample, err
	}
	chance := rand.New(rand.NewPCG(3, 4)) // the same keys in every run
	sample, err = measure(ctx, s, func(ctx context.Context) (int, error) {
		for i := range b.scale.nightPuts {
			user := b.scale.nightUsers + i
			if !ascending {
				user = chance.IntN(b.scale.nightUsers)
			}
			record := wildkey.Record{Key: userKey(user, "fresh", i), Value: value}
			if err := cache.Put(ctx, record); err != nil {
				return i, err
			}
		}
		return b.scale.nightPuts, nil
	})
	if err != nil {
		return sample, err
	}
	entries, err := s.control.ZCard(ctx, layout.Index(0)).Result()
	if err != nil {
		return sample, err
	}
	keys, err := s.control.DBSize(ctx).Result()
	sample.Entries, sample.Live = int(entries), int(keys)-1 // all keys but the index are records
	sample.Stale = 1 - float64(sample.Live)/float64(sample.Entries)
	return sample, err
}
