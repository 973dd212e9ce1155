package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey/internal/redisserver"
)

func TestLoadMixIsWhole(t *testing.T) {
	total := 0
	for _, verb := range loadMix {
		total += verb.share
	}
	if total != 1_000 {
		t.Errorf("the shares of the mix are %d of a thousand", total)
	}
}

// TestLoad has a short load pass, and then fail for each thing that it looks for.
func TestLoad(t *testing.T) {
	ctx := context.Background()
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		l := &loadRun{place: place{"a short load", 0, 3}, users: 500, length: 1500 * time.Millisecond}
		t.Cleanup(l.stop)
		if err := l.do(ctx, s.Program); err != nil {
			t.Fatal(err)
		}
		// How many samples a busy machine allows for, which of the rare verbs are drawn, and how far Reindex comes is
		// no matter of this test.
		l.garbage.judged, l.garbage.late = 1, 0
		l.long["Reindex"] = longUse{records: 1}
		for _, verb := range loadMix {
			if l.all.latencies[verb.name] == nil {
				l.all.latencies[verb.name] = newHistogram()
			}
		}
		if err := l.verdict(); err != nil {
			t.Fatal(err)
		}
		fails := func(why string) {
			t.Helper()
			if err := l.verdict(); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("the verdict is %v, not %s", err, why)
			}
		}

		l.failed("Get", context.DeadlineExceeded)
		fails("1 calls failed")
		l.errors = nil

		l.garbage.above = []string{"one"}
		fails("1 samples of garbage above the bound")
		l.garbage.above = nil

		if err := l.client.Del(ctx, "{bench#1}/keys").Err(); err != nil {
			t.Fatal(err)
		}
		if err := l.check(ctx); err != nil {
			t.Fatal(err)
		}
		fails("breaches of the invariant")
	})
}

func TestGarbageBound(t *testing.T) {
	at := time.Unix(1_000, 0)
	for _, test := range []struct {
		name           string
		before, purged int
		after          int
		pause          time.Duration
		above, late    int
	}{
		{"all that has expired is still there", 0, 0, 10, samplePause, 0, 0},
		{"one more than that", 0, 0, 11, samplePause, 1, 0},
		{"no put, and what was there is there", 500, 0, 510, samplePause, 0, 0},
		{"puts that purge less than they are bound to", 500, 100, 411, samplePause, 1, 0},
		{"puts that purge just that", 500, 100, 410, samplePause, 0, 0},
		{"puts that could have purged more than there was", 500, 10_000, 10, samplePause, 0, 0},
		{"and left something", 500, 10_000, 11, samplePause, 1, 0},
		{"a later sample, until which more expires", 0, 0, 40, 4 * samplePause, 0, 0},
		{"one so late that nobody knows", 0, 0, 1_000, 2 * loadLeast, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGarbage(nil, 1)
			due := []int{10, 20, 40, 80}
			g.judge([]garbageSample{{at, test.before, due}}, []int{0})
			g.judge([]garbageSample{{at.Add(test.pause), test.after, due}}, []int{test.purged})
			if len(g.above) != test.above || g.late != test.late || g.judged+g.late != 1 {
				t.Errorf("%d above the bound, %d late, %d judged: %q", len(g.above), g.late, g.judged, g.above)
			}
		})
	}
}

// TestGarbageIsCounted has samples see what expires and is not purged.
func TestGarbageIsCounted(t *testing.T) {
	ctx := context.Background()
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		client := s.Client(t)
		g := newGarbage(client, 2)
		now := time.Now()
		for i, life := range []time.Duration{-time.Hour, -time.Second, time.Millisecond, loadLeast / 2, time.Hour} {
			if err := client.Do(ctx, "ZADD", g.shards[1].expiry, now.Add(life).UnixMilli(), i).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.sample(ctx); err != nil {
			t.Fatal(err)
		}
		last := g.shards[1].last
		if seen := last.expired + slices.Max(last.due); last.expired < 2 || last.expired > 3 || seen != 4 {
			t.Errorf("%d expired and %v due, of two that have expired, one that is about to and one that will soon",
				last.expired, last.due)
		}
		if other := g.shards[0].last; other.expired != 0 || slices.Max(other.due) != 0 {
			t.Errorf("the other shard has %d expired and %v due", other.expired, other.due)
		}
	})
}
