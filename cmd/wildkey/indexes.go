package main

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

func (s *session) examineIndexes(ctx context.Context, all *findings) {
	var sum sample
	var taken, misplaced int
	for _, tag := range s.shards.tags {
		for _, index := range []string{order(tag), expiry(tag)} {
			kind, err := s.client.Type(ctx, index).Result()
			if err != nil {
				all.cannot("indexes", err, "")
				return
			}
			if kind != "zset" && kind != "none" {
				all.add("indexes", problem, foreignIndexRepair, "%s is not an index but a %s", index, kind)
				return
			}
		}
		sample, err := s.sample(ctx, tag, len(s.shards.tags))
		if err != nil {
			all.cannot("indexes", err, "")
			return
		}
		sum.entries += sample.entries
		sum.expiring += sample.expiring
		sum.stale += sample.stale
		taken += len(sample.taken)
		for _, encoded := range sample.taken {
			if key, err := wildkey.ParseKey(encoded); err == nil && s.shards.of(key) != tag {
				misplaced++
			}
		}
	}
	if sum.entries == 0 {
		all.add("indexes", worth, "if there should be records: look at the namespace, then wildkey reindex",
			"%s: no entry in the order index", s.shards)
		return
	}
	all.add("indexes", fine, "", "%s entries, %s of them with an expiry; wildkey check looks at each",
		number(sum.entries), number(sum.expiring))
	share := float64(sum.stale) / float64(max(1, taken))
	text := fmt.Sprintf("%s of %s index entries looked up have no record", percent(share), number(taken))
	if share >= 0.25 {
		all.add("stale", worth, "wildkey sweep", "%s", text)
	} else {
		all.add("stale", fine, "", "%s", text)
	}
	if misplaced > 0 {
		all.add("shards", problem, "give --shards and --shard-segments as the clients have them; wildkey check looks at each",
			"%s of %s index entries looked up are not in the shard of their key", number(misplaced), number(taken))
	}
}

// examineShards looks for other shards of the namespace, by their indexes.
func (s *session) examineShards(ctx context.Context, namespace string, all *findings) {
	others := tagsOf(namespace, maxShards)
	if own := len(s.shards.tags); own > 1 {
		others = append(tagsOf(namespace, 1), others[own:]...)
	}
	exist := make([]*redis.IntCmd, len(others))
	// One first: the ACL log of who may not look shall not be full of it.
	err := s.client.Exists(ctx, order(others[0])).Err()
	if err == nil {
		_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, tag := range others {
				exist[i] = p.Exists(ctx, order(tag), expiry(tag))
			}
			return nil
		})
	}
	if err != nil {
		all.cannot("shards", err, "")
		return
	}
	var found []string
	for i, tag := range others {
		if exist[i].Val() > 0 {
			found = append(found, tag)
		}
	}
	if len(found) > 0 {
		all.add("shards", problem, strayRepair,
			"the namespace has records outside of %s too: %s", s.shards, some(found))
	}
}
