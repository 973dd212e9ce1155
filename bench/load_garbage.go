package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// garbage watches how many expired entries lie in the expiry indexes, shard by
// shard, and holds them against what put.lua purges: 64 + 2n entries a call.
//
// Between two samples a shard's garbage grows by what expires, and every put
// that begins and ends meanwhile takes away 64 + 2n or all there is. So a sample
// is at most what the one before has left when those puts are done, plus all
// that has expired since:
//
//	max(0, before - purged) + expired
//
// What will have expired is counted beforehand, as nothing is written that lives
// shorter than the time between two samples. Samples that come later than that
// are not judged.
type garbage struct {
	client redis.UniversalClient
	shards []shardGarbage

	mu    sync.Mutex
	since time.Time // puts that began earlier may have purged before the sample

	judged, late int
	above        []string
	due          int // what expired, at the most
	peak         int // the most at a time, in all shards
	bound        int // at that time
	sum          int // of what the judged samples have counted
}

type shardGarbage struct {
	expiry string
	purged int // what the puts since the last sample were able to purge
	last   garbageSample
}

type garbageSample struct {
	at      time.Time
	expired int
	due     []int // what expires within each of horizons
}

const samplePause = 250 * time.Millisecond

// horizons are how long after a sample the next may come: at the most, loadLeast.
var horizons = []time.Duration{samplePause * 11 / 10, 2 * samplePause, 4 * samplePause, loadLeast}

func newGarbage(client redis.UniversalClient, shards int) *garbage {
	g := &garbage{client: client, shards: make([]shardGarbage, shards)}
	for i := range g.shards {
		tag := namespace
		if shards > 1 {
			tag = fmt.Sprintf("%s#%d", namespace, i)
		}
		g.shards[i].expiry = "{" + tag + "}/expiry"
	}
	return g
}

// served says that a put of n records has been done, and when it began.
func (g *garbage) served(shard, n int, began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.since.IsZero() && began.After(g.since) {
		g.shards[shard].purged += 64 + 2*n
	}
}

// watch samples until the context ends.
func (g *garbage) watch(ctx context.Context) error {
	for i := range g.shards {
		g.shards[i].last = garbageSample{}
	}
	ticks := time.NewTicker(samplePause)
	defer ticks.Stop()
	for {
		if err := g.sample(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("sampling garbage: %w", err)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (g *garbage) sample(ctx context.Context) error {
	purged := make([]int, len(g.shards))
	g.mu.Lock()
	g.since = time.Time{} // a put that ends before the reply may have come before or after the count
	for i := range g.shards {
		purged[i], g.shards[i].purged = g.shards[i].purged, 0
	}
	g.mu.Unlock()

	now, counts := time.Now(), make([][]*redis.IntCmd, len(g.shards))
	_, err := g.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, shard := range g.shards {
			counts[i] = []*redis.IntCmd{pipe.ZCount(ctx, shard.expiry, "-inf", fmt.Sprintf("(%d", now.UnixMilli()))}
			for _, horizon := range horizons {
				counts[i] = append(counts[i], pipe.ZCount(ctx, shard.expiry,
					fmt.Sprint(now.UnixMilli()), fmt.Sprint(now.Add(horizon).UnixMilli())))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.since = time.Now()
	g.mu.Unlock()

	samples := make([]garbageSample, len(g.shards))
	for i, counts := range counts {
		samples[i] = garbageSample{at: now, expired: int(counts[0].Val())}
		for _, due := range counts[1:] {
			samples[i].due = append(samples[i].due, int(due.Val()))
		}
	}
	g.judge(samples, purged)
	return nil
}

// judge holds a sample of each shard against the one before.
func (g *garbage) judge(samples []garbageSample, purged []int) {
	total, bound, first, late := 0, 0, false, false
	for i, sample := range samples {
		shard := &g.shards[i]
		last := shard.last
		shard.last = sample
		if first = last.at.IsZero(); first {
			continue
		}
		total += sample.expired
		most, due, known := last.bound(sample.at, purged[i])
		if late = late || !known; known && sample.expired > most {
			g.above = append(g.above, fmt.Sprintf("%s: %d expired entries, %v after there were %d; at most %d",
				shard.expiry, sample.expired, sample.at.Sub(last.at), last.expired, most))
		}
		bound, g.due = bound+most, g.due+due
	}
	switch {
	case first:
	case late:
		g.late++
	default:
		g.judged, g.sum = g.judged+1, g.sum+total
		if total >= g.peak {
			g.peak, g.bound = total, bound
		}
	}
}

// bound is the most that may have expired and not been purged at a later time,
// and how much of it is due in between.
func (s garbageSample) bound(at time.Time, purged int) (most, due int, known bool) {
	for i, horizon := range horizons {
		if at.Sub(s.at) <= horizon {
			return max(0, s.expired-purged) + s.due[i], s.due[i], true
		}
	}
	return 0, 0, false
}
