package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// What one call may do at default bounds.
const (
	callRecords = 250
	pageLimit   = 500
	pageReads   = 1_000
)

// raceCalls looks for the longest call of any script at default bounds, in the
// largest namespace: each verb as large as one call of it may be.
func (b *bench) raceCalls(ctx context.Context, largest subject, size int) error {
	client, cache := largest.server.client, largest.cache
	foul, err := newCache(ctx, client, "foul")
	if err != nil {
		return err
	}
	verb := func(name string, prepare func(context.Context) error, run runner) contender {
		return contender{name: name, server: largest.server, prepare: prepare, run: run}
	}
	put := func(cache *wildkey.Cache) runner {
		return func(ctx context.Context) (int, error) {
			return callRecords, putAll(ctx, cache, some(callRecords, "new"), value)
		}
	}
	return b.race(ctx, line{
		name:  "calls",
		title: fmt.Sprintf("the longest call of a script, default bounds, %s records", thousands(size)),
		note: fmt.Sprintf("SLOWLOG's duration of the longest call of a round; min and max are over rounds, here %d; 0: below %v. "+
			"A call that the machine interrupts is as long as the interruption.", 2*b.rounds+1, slowlogThreshold),
		metrics: []metric{longestMs, wallMs, trips},
		rounds:  2*b.rounds + 1,
		apart:   true,
		contenders: []contender{
			verb("Put, 250 new records", nil, put(cache)),
			verb("Put, 250 records again", nil, put(cache)),
			verb("Put, 250 new records where all else is stale", func(ctx context.Context) error {
				if _, err := foul.Delete(ctx, some(callRecords, "new")...); err != nil {
					return err
				}
				return vanish(ctx, client, foul, 4*pageReads)
			}, put(foul)),
			verb("Touch, 250 records", nil, func(ctx context.Context) (int, error) {
				return cache.Touch(ctx, ttl, some(callRecords, "new")...)
			}),
			verb("Delete, 250 records", nil, func(ctx context.Context) (int, error) {
				return cache.Delete(ctx, some(callRecords, "new")...)
			}),
			verb("Page, 500 matches in a row", nil, onePage(cache, "user:**")),
			verb("Page, 1 MiB", func(ctx context.Context) error {
				return putAll(ctx, cache, some(pageLimit, "large"), []byte(strings.Repeat("x", 3_000)))
			}, onePage(cache, "large:**")),
			verb("Match, user:*:session:*, all pages", nil, all(sessions)(cache)),
			verb("Match, user:*:*:0, nothing but leaps", nil, all("user:*:*:0")(cache)),
			verb("Match, user:*:*:z*, nothing but leaps", nil, all("user:*:*:z*")(cache)),
			verb("List, user:*, all pages", nil, listOf("user:*")(cache)),
			verb("MatchKeys, user:00000*:item:*", nil, keysOf("user:00000*:item:*")(cache)),
			verb("Count, user:00000*:item:*", nil, countOf("user:00000*:item:*")(cache)),
			verb("Match and sweep of 1,000 stale entries", func(ctx context.Context) error {
				return vanish(ctx, client, cache, pageReads)
			}, all("gone:**")(cache)),
			verb("TouchMatch, user:0000*:session:**", nil, func(ctx context.Context) (int, error) {
				return cache.TouchMatch(ctx, ttl, wildkey.MustParsePattern("user:0000*:session:**"))
			}),
		},
	})
}

// some are n keys of a kind that nothing else has.
func some(n int, kind string) []wildkey.Key {
	keys := make([]wildkey.Key, n)
	for i := range keys {
		keys[i] = wildkey.K(kind, i%7, token(uint64(i), 37-len(kind)))
	}
	return keys
}

// putAll puts records with one value, as many a call as are allowed.
func putAll(ctx context.Context, cache *wildkey.Cache, keys []wildkey.Key, value []byte) error {
	for keys := range slices.Chunk(keys, callRecords) {
		var records []wildkey.Record
		for _, key := range keys {
			records = append(records, wildkey.Record{Key: key, Value: value})
		}
		if err := cache.Put(ctx, records...); err != nil {
			return err
		}
	}
	return nil
}

func onePage(cache *wildkey.Cache, pattern string) runner {
	return func(ctx context.Context) (int, error) {
		page, err := cache.Page(ctx, wildkey.MustParsePattern(pattern), wildkey.PageOptions{})
		return len(page.Entries), err
	}
}

// vanish puts n records and deletes them by hand, so that their index entries are
// stale.
func vanish(ctx context.Context, client *redis.Client, cache *wildkey.Cache, n int) error {
	gone := some(n, "gone")
	if err := putAll(ctx, cache, gone, value); err != nil {
		return err
	}
	for keys := range slices.Chunk(gone, 1_000) {
		names := make([]string, len(keys))
		for i, key := range keys {
			name, err := cache.Layout().Record(key)
			if err != nil {
				return err
			}
			names[i] = name
		}
		if err := client.Unlink(ctx, names...).Err(); err != nil {
			return err
		}
	}
	return nil
}
