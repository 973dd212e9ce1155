package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// Client is the part of a Redis client that Reindex uses. *redis.Client and
// *redis.ClusterClient implement it. A client of several servers must also have the
// method ForEachMaster of *redis.ClusterClient.
type Client interface {
	Exists(ctx context.Context, keys ...string) *redis.IntCmd
	ScanType(ctx context.Context, cursor uint64, match string, count int64, keyType string) *redis.ScanCmd
	ZAdd(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd
}

// Reindex puts every record of the namespace back into its index and returns how many
// records it met. Use it after an index was deleted or, under an allkeys-* policy,
// evicted. It goes through the keyspace of each server once with SCAN, which may return a
// record twice; that record then counts twice. It changes no record. It also indexes
// leases (see package fetch) but does not count them.
//
// Reindex returns an error if a slot of the namespace moves between nodes during the
// call, because SCAN may then miss records. Call it again. Reindex refuses clients that
// would find only some of the records: a *redis.Ring and a client of one cluster node.
func Reindex(ctx context.Context, client Client, layout wildkey.Layout) (int, error) {
	cluster, ok := client.(interface {
		ForEachMaster(ctx context.Context, fn func(ctx context.Context, client *redis.Client) error) error
	})
	if !ok {
		if _, several := client.(interface {
			ForEachShard(ctx context.Context, fn func(ctx context.Context, client *redis.Client) error) error
		}); several {
			return 0, fmt.Errorf("wildkey: Reindex: a %T spreads records over servers in a way that Reindex "+
				"does not know; call it with a client of each server", client)
		}
		for shard := range layout.Shards() {
			err := client.Exists(ctx, layout.Index(shard)).Err()
			if _, elsewhere := redis.IsMovedError(err); elsewhere {
				return 0, fmt.Errorf("wildkey: Reindex: %s: %w; for a cluster, use a ClusterClient", layout.Tag(shard), err)
			}
			if err != nil {
				return 0, fmt.Errorf("wildkey: Reindex: %s: %w", layout.Tag(shard), err)
			}
		}
		return reindexServer(ctx, client, layout)
	}
	before, err := owners(ctx, cluster.ForEachMaster, layout)
	if err != nil {
		return 0, err
	}
	total, mu := 0, sync.Mutex{}
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		n, err := reindexServer(ctx, master, layout)
		mu.Lock()
		defer mu.Unlock()
		total += n
		return err
	})
	if err != nil {
		return total, err
	}
	after, err := owners(ctx, cluster.ForEachMaster, layout)
	if err == nil && !maps.Equal(before, after) {
		err = errors.New("wildkey: Reindex: a slot moved during the call; call Reindex again")
	}
	return total, err
}

// owners returns the address of each shard's master. It returns an error while a slot
// moves, or until all nodes know that it has moved.
func owners(
	ctx context.Context,
	forEachMaster func(context.Context, func(context.Context, *redis.Client) error) error,
	layout wildkey.Layout,
) (map[int]string, error) {
	owners, mu := map[int]string{}, sync.Mutex{}
	err := forEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		for shard := range layout.Shards() {
			// While its slot moves, a node refuses two keys if one is missing; the bare prefix always is.
			err := master.Exists(ctx, layout.Index(shard), layout.Prefix(shard)).Err()
			if _, elsewhere := redis.IsMovedError(err); elsewhere {
				continue
			}
			if err != nil {
				return fmt.Errorf("wildkey: Reindex: %s: %w", layout.Tag(shard), err)
			}
			mu.Lock()
			owners[shard] = master.Options().Addr
			mu.Unlock()
		}
		return nil
	})
	if err == nil && len(owners) < layout.Shards() {
		err = fmt.Errorf("wildkey: Reindex: only %d of %d shards are on a master that answers for them",
			len(owners), layout.Shards())
	}
	return owners, err
}

// reindexServer indexes the records that SCAN finds on one server.
func reindexServer(ctx context.Context, client Client, layout wildkey.Layout) (total int, err error) {
	// Records wait to fill a ZADD of their shard. About 100,000 wait at most.
	batch := min(250, max(1, 100_000/layout.Shards()))
	waiting, leases := make([][]redis.Z, layout.Shards()), make([]int, layout.Shards())
	flush := func(shard int) error {
		if len(waiting[shard]) == 0 {
			return nil
		}
		if err := client.ZAdd(ctx, layout.Index(shard), waiting[shard]...).Err(); err != nil {
			return fmt.Errorf("wildkey: Reindex: ZADD %s: %w", layout.Index(shard), err)
		}
		total += len(waiting[shard]) - leases[shard]
		waiting[shard], leases[shard] = waiting[shard][:0], 0
		return nil
	}
	names := client.ScanType(ctx, 0, layout.Glob(), 250, "string").Iterator()
	for names.Next(ctx) {
		tag, member, _ := strings.Cut(names.Val(), ":")
		encoded, isLease := strings.CutPrefix(member, "!")
		key, err := layout.Key(tag + ":" + encoded)
		if err != nil {
			continue // no Cache with this Layout wrote it
		}
		shard := layout.Shard(key)
		waiting[shard] = append(waiting[shard], redis.Z{Member: member})
		if isLease {
			leases[shard]++
		}
		if len(waiting[shard]) == batch {
			if err := flush(shard); err != nil {
				return total, err
			}
		}
	}
	if err := names.Err(); err != nil {
		return total, fmt.Errorf("wildkey: Reindex: SCAN: %w", err)
	}
	for shard := range waiting {
		if err := flush(shard); err != nil {
			return total, err
		}
	}
	return total, nil
}
