package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// runPut measures puts of one record and of several, and touches and deletes, of
// records of four segments.
func runPut(ctx context.Context, b *bench) error {
	subjects, err := b.subjects(ctx, namespace)
	if err != nil {
		return err
	}
	servers, err := b.serversOf(6)
	if err != nil {
		return err
	}
	store := newReference(servers[0], namespace)
	twoIndexes, oneIndex := putSetZadd(servers[1].client, true), putSetZadd(servers[2].client, false)
	set := putSet(servers[3].client)
	var puts, touches, deletes []writing
	for _, s := range subjects {
		put := putWildkey(s.cache)
		puts = append(puts, writing{s.name, s.server, put, put})
		touches = append(touches, writing{s.name, s.server, touchWildkey(s.cache), put})
		deletes = append(deletes, writing{s.name, s.server, deleteWildkey(s.cache), put})
	}
	puts = append(puts,
		writing{nameReference, servers[0], putReference(store), fillReference(store)},
		writing{nameSetZadds, servers[1], twoIndexes, twoIndexes},
		writing{nameSetZadd, servers[2], oneIndex, oneIndex},
		writing{nameSet, servers[3], set, set})
	singles := []writing{
		{nameGoRedis, servers[4], putGoRedis(newGoRedis(servers[4])), putSet(servers[4].client)},
		{nameTag, servers[5], putGocache(newGocache(servers[5])), putSet(servers[5].client)},
	}
	touches = append(touches, writing{namePexpire, servers[3], pexpire(servers[3].client), set})
	deletes = append(deletes, writing{nameUnlinkZrem, servers[2], unlinkZrem(servers[2].client), oneIndex})
	for _, w := range slices.Concat(puts, singles) {
		if err := load(ctx, deepKeys(4, 0, b.scale.base), w.fill); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}

	into := fmt.Sprintf("Into %s records.", thousands(b.scale.base))
	serial := b.scale.base // of the next record that is not there
	fresh := func() roundKeys {
		keys := freshKeys(4, serial, b.scale.puts)
		serial += (b.rounds + 1) * b.scale.puts
		return keys
	}
	several := fmt.Sprintf("of %d records in one call", callRecords)
	for _, l := range []struct {
		name, title, note string
		batch             int
		all               []writing
		keys              roundKeys
		refill            bool
	}{
		{"put-1", "put of one new record", into + singlesNote, 1, slices.Concat(puts, singles), fresh(), false},
		{"put-1-over", "put of one record over an old one", "", 1, slices.Concat(puts, singles), b.oldKeys, false},
		{"put-10", "put of 10 new records in one call", into + singlesNote, 10, slices.Concat(puts, singles), fresh(), false},
		{"put-10-over", "put of 10 records over old ones in one call", "", 10, slices.Concat(puts, singles), b.oldKeys, false},
		{"put-250", "put " + several + ", new", into, callRecords, puts, fresh(), false},
		{"put-250-over", "put " + several + ", over old ones", "", callRecords, puts, b.oldKeys, false},
		{"touch-250", "touch " + several, "", callRecords, touches, b.oldKeys, false},
		{"delete-250", "delete " + several, "", callRecords, deletes, b.oldKeys, true},
	} {
		line := line{name: l.name, title: l.title, note: l.note, metrics: opMetrics, records: b.scale.puts}
		for _, w := range l.all {
			line.contenders = append(line.contenders, w.inCalls(l.batch, l.keys, l.refill))
		}
		if err := b.race(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

const singlesNote = " go-redis/cache and eko/gocache have no call for several records, and no reads by pattern; a tag of " +
	"gocache is one that the user's records share."

// runDepth measures puts of one record by the depth of its key.
func runDepth(ctx context.Context, b *bench) error {
	for depth := 2; depth <= 8; depth++ {
		subjects, err := b.subjects(ctx, namespace)
		if err != nil {
			return err
		}
		peer, err := b.server()
		if err != nil {
			return err
		}
		var all []writing
		for _, s := range subjects {
			all = append(all, writing{s.name, s.server, putWildkey(s.cache), putWildkey(s.cache)})
		}
		store := newReference(peer, namespace)
		all = append(all, writing{nameReference, peer, putReference(store), fillReference(store)})
		l := line{
			name:    fmt.Sprintf("depth-%d", depth),
			title:   fmt.Sprintf("put of one new record of %d segments", depth),
			note:    fmt.Sprintf("Into %s records; keys have 45 bytes at every depth.", thousands(b.scale.depthBase)),
			x:       float64(depth),
			metrics: opMetrics, records: b.scale.depthPuts,
		}
		for _, w := range all {
			if err := load(ctx, deepKeys(depth, 0, b.scale.depthBase), w.fill); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			l.contenders = append(l.contenders, w.inCalls(1, freshKeys(depth, b.scale.depthBase, b.scale.depthPuts), false))
		}
		if err := b.race(ctx, l); err != nil {
			return err
		}
		b.stopServers()
	}
	return nil
}

// writing is a contender that writes, and what fills its server beforehand.
type writing struct {
	name      string
	server    *server
	act, fill putter
}

// roundKeys are the keys of the records of a round.
type roundKeys func(round int) []wildkey.Key

// oldKeys are of records that are there from the beginning.
func (b *bench) oldKeys(round int) []wildkey.Key {
	return slices.Collect(deepKeys(4, round*b.scale.puts%b.scale.base, b.scale.puts))
}

// freshKeys returns new keys for each round, from the serial first on: the same
// for all contenders.
func freshKeys(depth, first, count int) roundKeys {
	return func(round int) []wildkey.Key { return slices.Collect(deepKeys(depth, first+round*count, count)) }
}

// inCalls acts on the records of each round, batch of them a call. With refill
// they are put before the round.
func (w writing) inCalls(batch int, keys roundKeys, refill bool) contender {
	var now []wildkey.Key
	round := 0
	return contender{
		name: w.name, server: w.server,
		prepare: func(ctx context.Context) error {
			now = keys(round)
			round++
			if !refill {
				return nil
			}
			return load(ctx, slices.Values(now), w.fill)
		},
		run: func(ctx context.Context) (int, error) {
			for keys := range slices.Chunk(now, batch) {
				if err := w.act(ctx, keys); err != nil {
					return 0, err
				}
			}
			return len(now), nil
		},
	}
}

func touchWildkey(cache *wildkey.Cache) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		n, err := cache.Touch(ctx, ttl, keys...)
		return met(keys, n, err)
	}
}

func deleteWildkey(cache *wildkey.Cache) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		n, err := cache.Delete(ctx, keys...)
		return met(keys, n, err)
	}
}

// met returns an error unless all records were met.
func met(keys []wildkey.Key, n int, err error) error {
	if err == nil && n != len(keys) {
		err = fmt.Errorf("%d records were met, not %d", n, len(keys))
	}
	return err
}

func pexpire(client *redis.Client) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, key := range keys {
				pipe.PExpire(ctx, redisName(key), ttl)
			}
			return nil
		})
		return err
	}
}

func unlinkZrem(client *redis.Client) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			members := make([]any, len(keys))
			for i, key := range keys {
				members[i] = key.String()
			}
			pipe.Unlink(ctx, redisNames(keys)...)
			pipe.ZRem(ctx, layout.Index(0), members...)
			return nil
		})
		return err
	}
}
