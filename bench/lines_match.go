package main

import (
	"context"
	"fmt"
	"iter"
	"log"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/reference"
)

// loadsOf returns a load of the same records for each subject.
func loadsOf(ctx context.Context, subjects []subject, keys iter.Seq[wildkey.Key]) (loads []func() error) {
	for _, s := range subjects {
		loads = append(loads, func() error { return load(ctx, keys, putWildkey(s.cache)) })
	}
	return loads
}

// runSize measures one pattern with a fixed number of matches in a namespace
// that grows, and the sessions of one user in the same; and when it is largest,
// the longest call of each verb. Peers that can use Wildkey's records, such as
// SCAN, do.
func runSize(ctx context.Context, b *bench) error {
	subjects, err := b.subjects(ctx, namespace)
	if err != nil {
		return err
	}
	peer, err := b.server()
	if err != nil {
		return err
	}
	own, written, tuned := subjects[0], newReference(peer, namespace), newReference(peer, namespace)
	tuned.Count = 1_000
	loaded := 0 // items a user
	for _, items := range b.scale.items {
		log.Printf("loading up to %d items a user", items)
		fresh := userKeys(b.scale.users, "item", loaded, items)
		if loaded == 0 {
			fresh = joined(userKeys(b.scale.users, "session", 0, b.scale.sessions), fresh)
		}
		loads := append(loadsOf(ctx, subjects, fresh), func() error { return load(ctx, fresh, fillReference(written)) })
		if err := together(loads...); err != nil {
			return err
		}
		loaded = items
		size, matches := b.scale.users*(b.scale.sessions+items), b.scale.users*b.scale.sessions
		if err := b.race(ctx, line{
			name:    fmt.Sprintf("size-%d", size),
			title:   fmt.Sprintf("user:*:session:*, %s matches among %s records", thousands(matches), thousands(size)),
			note:    fmt.Sprintf("%s users × (%d sessions + %s other records).", thousands(b.scale.users), b.scale.sessions, thousands(items)),
			x:       float64(size),
			metrics: matchMetrics, records: matches, cold: true,
			contenders: append(contenders(subjects, all(sessions)),
				contender{name: nameTuned, server: peer, run: allOf(tuned, "user", reference.Wild, "session", reference.Wild)},
				contender{name: nameWritten, server: peer, run: allOf(written, "user", reference.Wild, "session", reference.Wild)},
				contender{name: nameScan, server: own.server, run: scanMget(own.server.client)},
			),
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
			contenders: append(
				contenders(subjects, func(cache *wildkey.Cache) runner {
					return everyUser(b, repeats, func(user string) runner { return all("user:" + user + ":session:*")(cache) })
				}),
				contender{name: nameReference, server: peer, run: everyUser(b, repeats, func(user string) runner {
					return allOf(written, "user", user, "session", reference.Wild)
				})},
			),
		}); err != nil {
			return err
		}
		if err := b.raceList(ctx, own, size); err != nil {
			return err
		}
	}
	b.stop(peer)
	if err := b.raceExpired(ctx, own, loaded); err != nil {
		return err
	}
	return b.raceCalls(ctx, own, b.scale.users*(b.scale.sessions+loaded))
}

// raceList lists the users of a namespace that grows, beside who reads all keys for it.
func (b *bench) raceList(ctx context.Context, own subject, size int) error {
	return b.race(ctx, line{
		name:    fmt.Sprintf("list-%d", size),
		title:   fmt.Sprintf("List of user:*, %s users with %s records", thousands(b.scale.users), thousands(size)),
		note:    "Without List, who wants the users reads all keys.",
		x:       float64(size),
		metrics: matchMetrics, records: b.scale.users,
		contenders: []contender{
			{name: nameWildkey, server: own.server, run: listOf("user:*")(own.cache)},
			{name: nameKeys, server: own.server, run: func(ctx context.Context) (int, error) {
				users := map[string]bool{}
				for key, err := range own.cache.MatchKeys(ctx, wildkey.MustParsePattern("user:**")) {
					if err != nil {
						return 0, err
					}
					users[key[1]] = true
				}
				return len(users), nil
			}},
		},
	})
}

// raceExpired lists the users when all records of one are gone and their entries are
// left, as long as nobody drops them.
func (b *bench) raceExpired(ctx context.Context, own subject, items int) error {
	cache, err := wildkey.New(own.server.client, wildkey.Options{Namespace: namespace, LeaveStale: true})
	if err != nil {
		return err
	}
	gone := slices.Collect(joined(userKeys(1, "session", 0, b.scale.sessions), userKeys(1, "item", 0, items)))
	for batch := range slices.Chunk(redisNames(gone), 1_000) {
		if err := own.server.client.Unlink(ctx, batch...).Err(); err != nil {
			return err
		}
	}
	err = b.race(ctx, line{
		name:    "list-expired",
		title:   fmt.Sprintf("the same, and all %s records of one user have expired", thousands(len(gone))),
		note:    "Their index entries are left for each round, with Options.LeaveStale. Else the first List drops them.",
		metrics: matchMetrics, records: b.scale.users - 1,
		contenders: []contender{{name: nameWildkey, server: own.server, run: listOf("user:*")(cache)}},
	})
	if err != nil {
		return err
	}
	return load(ctx, slices.Values(gone), putWildkey(own.cache))
}

// runDense measures the pattern where every record matches, and there is nothing
// to leap over: the records, their keys, and how many they are.
func runDense(ctx context.Context, b *bench) error {
	subjects, err := b.subjects(ctx, namespace)
	if err != nil {
		return err
	}
	peer, err := b.server()
	if err != nil {
		return err
	}
	own := subjects[0].server
	written, tuned := newReference(peer, namespace), newReference(peer, namespace)
	tuned.Count = 1_000
	keys := userKeys(b.scale.sessionUsers, "session", 0, b.scale.sessions)
	loads := append(loadsOf(ctx, subjects, keys), func() error { return load(ctx, keys, fillReference(written)) })
	if err := together(loads...); err != nil {
		return err
	}
	names := redisNames(slices.Collect(keys))
	declared, err := wildkey.New(own.client, wildkey.Options{Namespace: namespace, DeclaredKeys: true})
	if err != nil {
		return err
	}
	if err := b.race(ctx, line{
		name:    "dense",
		title:   fmt.Sprintf("user:*:session:*, all of %s records match", thousands(len(names))),
		note:    "MGET is the floor: names known beforehand, 1,000 a call.",
		metrics: slices.Concat(matchMetrics, []metric{allocs}), records: len(names),
		contenders: append(slices.Concat(contenders(subjects, all(sessions)), []contender{
			{name: nameUnder, server: own, run: all("user:**")(subjects[0].cache)},
			{name: nameDeclared, server: own, run: all("user:**")(declared)},
		}),
			contender{name: nameMget, server: own, run: func(ctx context.Context) (n int, err error) {
				for batch := range slices.Chunk(names, 1_000) {
					live, err := mget(ctx, own.client, batch)
					if err != nil {
						return n, err
					}
					n += live
				}
				return n, nil
			}},
			contender{name: nameTuned, server: peer, run: allOf(tuned, "user", reference.Wild, "session", reference.Wild)},
			contender{name: nameWritten, server: peer, run: allOf(written, "user", reference.Wild, "session", reference.Wild)},
			contender{name: nameScan, server: own, run: scanMget(own.client)},
		),
	}); err != nil {
		return err
	}
	scan := contender{name: nameNames, server: own, run: func(ctx context.Context) (n int, err error) {
		err = scanBatches(ctx, own.client, func(names []string) error {
			n += len(names)
			return nil
		})
		return n, err
	}}
	if err := b.race(ctx, line{
		name:    "keys",
		title:   fmt.Sprintf("keys of user:*:session:*, all of %s records match", thousands(len(names))),
		note:    "SCAN gives a key that has expired, and may give one twice.",
		metrics: matchMetrics, records: len(names),
		contenders: append(contenders(subjects, keysOf(sessions)), scan),
	}); err != nil {
		return err
	}
	if err := b.race(ctx, line{
		name:    "count",
		title:   fmt.Sprintf("count of user:*:session:*, all of %s records match", thousands(len(names))),
		metrics: matchMetrics, records: len(names),
		contenders: append(contenders(subjects, countOf(sessions)), scan),
	}); err != nil {
		return err
	}
	half := userKey(b.scale.sessionUsers/2, "session", 0)[1]
	return b.race(ctx, line{
		name:    "range",
		title:   "count of a range of half the users",
		note:    fmt.Sprintf("The pattern is user:<%s:**. Without ranges, who wants these counts what a filter lets through.", half),
		metrics: matchMetrics, records: len(names) / 2,
		contenders: append(contenders(subjects, countOf("user:<"+half+":**")), contender{name: nameFilter, server: own,
			run: func(ctx context.Context) (n int, err error) {
				for key, err := range subjects[0].cache.MatchKeys(ctx, wildkey.MustParsePattern("user:**")) {
					if err != nil {
						return n, err
					}
					if key[1] < half {
						n++
					}
				}
				return n, nil
			}}),
	})
}

// sessions is the pattern of most lines: with a wildcard before a literal.
const sessions = "user:*:session:*"

// A runner does the work of a round and says how many records it met.
type runner = func(context.Context) (int, error)

func all(pattern string) func(*wildkey.Cache) runner {
	return func(cache *wildkey.Cache) runner {
		return func(ctx context.Context) (int, error) {
			entries, err := cache.Collect(ctx, wildkey.MustParsePattern(pattern))
			return len(entries), err
		}
	}
}

func keysOf(pattern string) func(*wildkey.Cache) runner {
	return func(cache *wildkey.Cache) runner {
		return func(ctx context.Context) (int, error) {
			return howMany(cache.MatchKeys(ctx, wildkey.MustParsePattern(pattern)))
		}
	}
}

func listOf(pattern string) func(*wildkey.Cache) runner {
	return func(cache *wildkey.Cache) runner {
		return func(ctx context.Context) (int, error) {
			return howMany(cache.List(ctx, wildkey.MustParsePattern(pattern)))
		}
	}
}

func howMany[T any](found iter.Seq2[T, error]) (n int, err error) {
	for _, err := range found {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func countOf(pattern string) func(*wildkey.Cache) runner {
	return func(cache *wildkey.Cache) runner {
		return func(ctx context.Context) (int, error) {
			return cache.Count(ctx, wildkey.MustParsePattern(pattern))
		}
	}
}

func allOf(store *reference.Store, pattern ...string) runner {
	return func(ctx context.Context) (int, error) {
		records, err := store.All(ctx, pattern)
		return len(records), err
	}
}

func scanMget(client *redis.Client) runner {
	return func(ctx context.Context) (n int, err error) {
		err = scanBatches(ctx, client, func(names []string) error {
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
