package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// runMemory weighs the indexes. Memory is a state and not a time: it is
// measured once.
func runMemory(ctx context.Context, b *bench) error {
	for _, depth := range []int{4, 8} {
		if err := b.weigh(ctx, depth); err != nil {
			return err
		}
	}
	return nil
}

// weigh compares a server with records and indexes against one with the same
// records alone, for Wildkey and for the reference, whose names are longer.
func (b *bench) weigh(ctx context.Context, depth int) error {
	servers, err := b.serversOf(4)
	if err != nil {
		return err
	}
	defer b.stop(servers...)
	cache, err := newCache(ctx, servers[0].client, namespace)
	if err != nil {
		return err
	}
	full, bare := newReference(servers[2], namespace), newReference(servers[3], namespace)
	fills := []putter{putWildkey(cache), putSet(servers[1].client), fillReference(full), setReference(bare)}
	before := make([]float64, len(servers))
	for i, s := range servers {
		if before[i], err = s.info(ctx, "memory", "used_memory"); err != nil {
			return err
		}
		if err := load(ctx, deepKeys(depth, 0, b.scale.memory), fills[i]); err != nil {
			return err
		}
		if err := settle(ctx, s.control); err != nil {
			return err
		}
		// What the load has left in the slow log and in buffers is not data.
		s.client.Close()
		if err := s.control.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
			return err
		}
	}
	result := Result{
		Line:  fmt.Sprintf("memory-%d", depth),
		Title: fmt.Sprintf("memory of the indexes, %s records of %d segments", thousands(b.scale.memory), depth),
		Note: "Encoded keys of 45 bytes, three a user; the hash tables at rest. MEMORY USAGE is summed over the index keys; " +
			"used_memory is that of the whole server, less that of one with the same records and no index. Measured once.",
		X:       float64(depth),
		Metrics: []string{indexBytes.name, memoryBytes.name},
	}
	for i, name := range []string{nameWildkey, nameReference} {
		withIndex, without := servers[2*i], servers[2*i+1]
		sample := Sample{Records: b.scale.memory}
		used, err := withIndex.info(ctx, "memory", "used_memory")
		if err != nil {
			return err
		}
		usedWithout, err := without.info(ctx, "memory", "used_memory")
		if err != nil {
			return err
		}
		sample.MemoryBytes = ((used - before[2*i]) - (usedWithout - before[2*i+1])) / float64(b.scale.memory)
		usage, err := indexUsage(ctx, withIndex.control)
		if err != nil {
			return err
		}
		sample.IndexBytes = float64(usage) / float64(b.scale.memory)
		result.Rows = append(result.Rows, Row{Name: name, Samples: []Sample{sample}})
	}
	b.add(result)
	return nil
}

// indexUsage is the MEMORY USAGE of all sorted sets of the server: only indexes
// are sorted sets.
func indexUsage(ctx context.Context, client *redis.Client) (total int64, err error) {
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var names []string
		if names, cursor, err = client.ScanType(ctx, cursor, "", 1_000, "zset").Result(); err != nil {
			return total, err
		}
		usages := make([]*redis.IntCmd, len(names))
		if _, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, name := range names {
				usages[i] = pipe.MemoryUsage(ctx, name, 0)
			}
			return nil
		}); err != nil {
			return total, err
		}
		for _, usage := range usages {
			total += usage.Val()
		}
	}
	return total, nil
}

// settle has the hash tables of the indexes come to rest: a table that grows moves
// a bucket at each look-up, whatever is looked up, keeps its old places meanwhile,
// and makes that look-up dearer. Those of the keyspace move by themselves, a little
// at a time.
func settle(ctx context.Context, client *redis.Client) error {
	const batch = 1_000
	indexes := client.ScanType(ctx, 0, "", batch, "zset").Iterator()
	for indexes.Next(ctx) {
		entries, err := client.ZCard(ctx, indexes.Val()).Result()
		if err != nil {
			return err
		}
		for range entries / batch {
			if err := client.ZMScore(ctx, indexes.Val(), make([]string, batch)...).Err(); err != nil {
				return err
			}
		}
	}
	if err := indexes.Err(); err != nil {
		return err
	}
	time.Sleep(time.Second)
	return nil
}
