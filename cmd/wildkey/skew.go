package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// examineSkew judges how the entries are spread over the shards. Keys whose first
// segments are the same are in one shard, however many shards there are.
func (s *session) examineSkew(ctx context.Context, all *findings) {
	shards := s.layout.Shards()
	if shards == 1 {
		return
	}
	sizes := make([]*redis.IntCmd, shards)
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for shard := range sizes {
			sizes[shard] = p.ZCard(ctx, s.layout.Index(shard))
		}
		return nil
	})
	if err != nil {
		all.cannot("skew", err, "")
		return
	}
	var entries []int64
	for _, size := range sizes {
		entries = append(entries, size.Val())
	}
	status, text := skew(entries)
	if status == fine {
		return
	}
	largest := slices.Index(entries, slices.Max(entries))
	chosen, err := s.client.ZRandMember(ctx, s.layout.Index(largest), sampleSize).Result()
	if err != nil {
		all.cannot("skew", err, "")
		return
	}
	advice := "see that the first segments of the keys differ: they choose the shard"
	if segments := bestSegments(chosen, s.layout.ShardSegments(), shards); segments > s.layout.ShardSegments() {
		advice = fmt.Sprintf("set Options.ShardSegments to %d, and wildkey reshard --to-shards %d --to-shard-segments %[1]d: "+
			"see docs/rolling-upgrades.md", segments, shards)
	}
	all.add("skew", status, advice, "%s; keys choose theirs by %s", text,
		counted(int64(s.layout.ShardSegments()), "leading segment", "leading segments"))
}

// fewEntries are too few to tell chance from a choice.
const fewEntries = 100

// skew judges the sizes of the indexes. If each entry chose its shard by itself, a shard would exceed its share by six
// standard deviations less than once in a hundred million times. Entries choose by groups, of which some are large, so
// only a shard that has most of all is a problem, and a note if most shards have none where each should have ten.
func skew(entries []int64) (status, text string) {
	var n int64
	empty := 0
	for _, size := range entries {
		if n += size; size == 0 {
			empty++
		}
	}
	shards := float64(len(entries))
	share := float64(n) / shards
	largest := slices.Max(entries)
	beyondChance := float64(largest) > share+6*math.Sqrt(share*(1-1/shards))
	switch {
	case n >= fewEntries && beyondChance && float64(largest) > float64(n)*(1+1/shards)/2:
		return problem, fmt.Sprintf("one of %d shards has %s of all entries", len(entries), percent(float64(largest)/float64(n)))
	case share >= 10 && empty > len(entries)/2:
		return worth, fmt.Sprintf("%d of %d shards have no entry", empty, len(entries))
	}
	return fine, ""
}

// bestSegments returns how few leading segments of the keys tell so many apart that they
// fill the shards, or the most apart.
func bestSegments(encoded []string, from, shards int) int {
	var keys [][]string
	longest := 0
	for _, key := range encoded {
		keys = append(keys, strings.Split(strings.TrimPrefix(key, "!"), ":"))
		longest = max(longest, len(keys[len(keys)-1]))
	}
	best, most := from, 0
	for segments := from; segments <= longest && most < 4*shards; segments++ {
		groups := map[string]bool{}
		for _, key := range keys {
			groups[strings.Join(key[:min(segments, len(key))], ":")] = true
		}
		if len(groups) > most {
			best, most = segments, len(groups)
		}
	}
	return best
}
