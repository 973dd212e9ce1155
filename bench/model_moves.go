package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// fan is a namespace of several shards, and what a call costs that asks them all.
type fan struct {
	Shards    int     `json:"shards"`
	Records   int     `json:"records"`
	Predicted bool    `json:"predicted"`
	Memory    float64 `json:"memory_bytes"`
	Page      costs   `json:"page"`
	Count     costs   `json:"count"`

	cache *wildkey.Cache
}

// fanLimit is how many of the matches of a page go to the caller.
const fanLimit = 100

// fanOut measures calls that ask every shard, by the number of shards. The
// server is a cluster of one node, so that memory is that of a cluster's node.
func (b *bench) fanOut(ctx context.Context) (fans []*fan, err error) {
	s, err := b.server("--cluster-enabled", "yes")
	if err != nil {
		return nil, err
	}
	defer b.stop(s)
	if err := s.control.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		return nil, err
	}
	if err := untilServes(ctx, s.control); err != nil {
		return nil, err
	}
	for _, shards := range []int{1, 4, 16, 64, 256, 128} {
		f := &fan{Shards: shards, Records: b.scale.fanOut, Predicted: shards == 128}
		log.Printf("loading %s records into %d shards", thousands(f.Records), shards)
		if f.cache, err = wildkey.New(s.client, wildkey.Options{
			Namespace: fmt.Sprintf("fan%d", shards), Shards: shards, ShardSegments: loadSegments,
		}); err != nil {
			return nil, err
		}
		before, err := s.info(ctx, "memory", "used_memory")
		if err != nil {
			return nil, err
		}
		shape := space{Records: f.Records, Key: keyLength, Value: modelValue}
		if err := fill(ctx, f.cache, shape.users(), func(user int) []wildkey.Record {
			return shape.recordsOf(userRecords(user))
		}); err != nil {
			return nil, err
		}
		if err := s.control.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
			return nil, err
		}
		time.Sleep(time.Second)
		after, err := s.info(ctx, "memory", "used_memory")
		if err != nil {
			return nil, err
		}
		f.Memory = after - before
		fans = append(fans, f)
	}
	pattern := wildkey.MustParsePattern("user:0001*:session:*")
	for range b.scale.rounds {
		for _, f := range fans {
			calls := max(3, 400/f.Shards)
			page, err := measure(ctx, s, func(ctx context.Context) (int, error) {
				for range calls {
					if page, err := f.cache.Page(ctx, pattern, wildkey.PageOptions{Limit: fanLimit}); err != nil || len(page.Entries) != fanLimit {
						return 0, fmt.Errorf("%d shards: a page of %d: %w", f.Shards, len(page.Entries), err)
					}
				}
				return calls, nil
			})
			if err != nil {
				return nil, err
			}
			f.Page.add(page, calls)
			count, err := measure(ctx, s, func(ctx context.Context) (int, error) {
				for range calls {
					if n, err := f.cache.Count(ctx, pattern); err != nil || n != 100*loadKinds[0].count {
						return 0, fmt.Errorf("%d shards: %d counted: %w", f.Shards, n, err)
					}
				}
				return calls, nil
			})
			if err != nil {
				return nil, err
			}
			f.Count.add(count, calls)
		}
	}
	return fans, nil
}

// untilServes waits until a node has found that its cluster is whole.
func untilServes(ctx context.Context, client *redis.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !strings.Contains(client.ClusterInfo(ctx).Val(), "cluster_state:ok") {
		select {
		case <-ctx.Done():
			return errors.New("the cluster does not serve")
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// move is what it takes to move an index to another node, as a cluster
// does with a slot: nothing else is served meanwhile.
type move struct {
	Records int     `json:"records"`
	Bytes   int     `json:"dump_bytes"` // of DUMP
	Wall    float64 `json:"wall_us"`    // of MIGRATE
	Limit   int     `json:"limit_bytes,omitempty"`
	Refused string  `json:"refused,omitempty"` // by a target whose proto-max-bulk-len is Limit
}

const moveTimeout = 5 * time.Minute

// moves copies each index to a server with MIGRATE, and one that has just
// about room for it.
func (b *bench) moves(ctx context.Context, spaces []*space) (moves []move, err error) {
	target, err := b.server()
	if err != nil {
		return nil, err
	}
	defer b.stop(target)
	const limit = 1 << 20 // the least that Redis allows
	narrow, err := b.server("--proto-max-bulk-len", fmt.Sprint(limit))
	if err != nil {
		return nil, err
	}
	defer b.stop(narrow)
	for _, s := range spaces {
		index := layout.Index(0)
		dumped, err := s.server.control.Dump(ctx, index).Result()
		if err != nil {
			return nil, err
		}
		m := move{Records: s.Records, Bytes: len(dumped)}
		log.Printf("moving an index of %s records, %s bytes", thousands(m.Records), thousands(m.Bytes))
		var times []float64
		for range 3 {
			start := time.Now()
			if err := migrate(ctx, s.server, target, index); err != nil {
				return nil, err
			}
			times = append(times, micros(time.Since(start)))
		}
		m.Wall = median(times)
		if err := target.control.FlushDB(ctx).Err(); err != nil {
			return nil, err
		}
		if m.Bytes > limit {
			err := migrate(ctx, s.server, narrow, index)
			if err == nil {
				return nil, fmt.Errorf("a server takes an index of %d bytes, whose proto-max-bulk-len is %d", m.Bytes, limit)
			}
			m.Limit, m.Refused = limit, err.Error()
		}
		moves = append(moves, m)
	}
	return moves, nil
}

func migrate(ctx context.Context, from, to *server, key string) error {
	host, port, _ := strings.Cut(to.running.Addr, ":")
	return from.control.Do(ctx, "MIGRATE", host, port, key, 0, moveTimeout.Milliseconds(), "COPY", "REPLACE").Err()
}

// fork is what BGSAVE, and so the full resync of a replica, takes.
type fork struct {
	Records int     `json:"records"`
	Memory  float64 `json:"memory_bytes"`
	Fork    float64 `json:"fork_us"` // the server stands still
	Seconds float64 `json:"seconds"` // of the saving process
}

// What takes longer to save is saved once.
const longSave = 5.0

func forks(ctx context.Context, spaces []*space) (forks []fork, err error) {
	for _, s := range spaces {
		log.Printf("saving %s records", thousands(s.Records))
		f := fork{Records: s.Records, Memory: s.Memory}
		var times []float64
		for range 3 {
			start := time.Now()
			if err := s.server.control.BgSave(ctx).Err(); err != nil {
				return nil, err
			}
			for saving := 1.0; saving != 0; {
				time.Sleep(20 * time.Millisecond)
				if saving, err = s.server.info(ctx, "persistence", "rdb_bgsave_in_progress"); err != nil {
					return nil, err
				}
			}
			f.Seconds = time.Since(start).Seconds()
			took, err := s.server.info(ctx, "stats", "latest_fork_usec")
			if err != nil {
				return nil, err
			}
			times = append(times, took)
			if f.Seconds > longSave {
				break
			}
		}
		f.Fork = median(times)
		forks = append(forks, f)
	}
	return forks, nil
}
