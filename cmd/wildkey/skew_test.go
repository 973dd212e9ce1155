package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

func TestSkew(t *testing.T) {
	for _, test := range []struct {
		entries []int64
		want    string
	}{
		{[]int64{0, 0, 0, 0}, fine},
		{[]int64{0, 3, 0, 0}, fine}, // three records tell nothing
		{[]int64{0, 0, 1000, 0}, problem},
		{[]int64{10, 20, 1000, 15}, problem},
		{[]int64{100, 120, 90, 110}, fine},
		{[]int64{300, 290, 310, 900}, fine}, // a large group in one of them
		{[]int64{50, 70}, fine},
		{[]int64{2, 198}, problem},
		{[]int64{0, 400, 0, 0, 0, 390, 0, 410}, worth},
		{[]int64{0, 4, 0, 0, 0, 3, 0, 4}, fine},
	} {
		if status, text := skew(test.entries); status != test.want {
			t.Errorf("%v: %s %s, want %s", test.entries, status, text, test.want)
		}
	}
}

// TestSkewOfChance spreads entries by chance, which is never a skew.
func TestSkewOfChance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		entries := make([]int64, 2+random.IntN(63))
		for range random.IntN(300) {
			entries[random.IntN(len(entries))]++
		}
		if status, text := skew(entries); status != fine {
			t.Fatalf("%v: %s %s", entries, status, text)
		}
	}
}

// TestDoctorOfSkew puts keys that share their first segment, or two, into many shards.
func TestDoctorOfSkew(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		needsRedis7(t, server, "what doctor asks about permissions")
		for _, test := range []struct {
			namespace, prefix, want string
			code                    int
		}{
			{"one", "user:", "problem  skew      one of 48 shards has 100.0% of all entries; keys choose theirs by 1 leading segment\n" +
				"                   -> set Options.ShardSegments to 2, and wildkey reshard --to-shards 48 --to-shard-segments 2: " +
				"see docs/rolling-upgrades.md\n", exitFindings},
			{"two", "v1:user:", "to-shard-segments 3: see", exitFindings},
			{"none", "", "", 0},
		} {
			cache, err := wildkey.New(server.Client(t), wildkey.Options{Namespace: test.namespace, Shards: 48, TTL: time.Hour})
			must(t, err)
			var records []wildkey.Record
			for i := range 500 {
				key, err := wildkey.ParseKey(fmt.Sprintf("%s%d:session", test.prefix, i))
				must(t, err)
				records = append(records, wildkey.Record{Key: key})
			}
			for _, record := range records {
				must(t, cache.Put(context.Background(), record))
			}
			output, code := shell(t, server)("wildkey --shards 48 -n " + test.namespace + " doctor")
			if code != test.code || !strings.Contains(output, test.want) || test.want == "" && strings.Contains(output, "skew") {
				t.Errorf("%s: exit code %d, and\n%s", test.namespace, code, output)
			}
		}
	})
}
