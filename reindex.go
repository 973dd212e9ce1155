package wildkey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Reindex puts every record of the namespace back into the indexes, with its
// TTL, and returns how many it met: the repair after an index was deleted or,
// under allkeys-*, evicted. It goes once through the keyspace of each server that
// has shards with SCAN, which may give a record twice: it counts twice. While the
// slot of a shard moves between nodes of a cluster it fails: TRYAGAIN, ASK; and
// MOVED, until all nodes have heard that it has moved.
//
// A record that expires less than a second after what the expiry index says, as
// the move of a slot leaves it, is set back to that; any other score is set to
// when its record expires. Before Redis 7.2 a record of which the expiry index
// knows nothing any more may get the milliseconds that its call takes on top, one
// more than another, and so records that were put together expire apart.
func (c *Cache) Reindex(ctx context.Context) (int, error) {
	nodes, err := c.nodes(ctx)
	if err != nil {
		return 0, fmt.Errorf("wildkey: SCAN: %w", err)
	}
	return sum(ctx, nodes, c.reindexNode)
}

// node is a server with the shards that it has.
type node struct {
	client Client
	shards []*shard
}

// nodes returns the servers that have the shards: of a cluster, their masters.
func (c *Cache) nodes(ctx context.Context) (nodes []node, err error) {
	cluster, ok := c.client.(*redis.ClusterClient)
	if !ok {
		nodes = []node{{client: c.client}}
		for i := range c.shards {
			nodes[0].shards = append(nodes[0].shards, &c.shards[i])
		}
		return nodes, nil
	}
	places := map[*redis.Client]int{}
	for i := range c.shards {
		s := &c.shards[i]
		master, err := s.master(ctx, cluster)
		if err != nil {
			return nil, err
		}
		place, met := places[master]
		if !met {
			place, nodes = len(nodes), append(nodes, node{client: master})
			places[master] = place
		}
		nodes[place].shards = append(nodes[place].shards, s)
	}
	return nodes, nil
}

// master returns the node of a cluster that has all that is in the shard.
func (s *shard) master(ctx context.Context, cluster *redis.ClusterClient) (*redis.Client, error) {
	for again := false; ; again = true {
		master, err := cluster.MasterForKey(ctx, s.prefix)
		if err == nil {
			err = s.isWhole(ctx, master)
		}
		if _, moved := redis.IsMovedError(err); !moved || again {
			return master, err
		}
		// The client's list of the slots is old. It is read anew before all masters are called.
		_ = cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil })
	}
}

// isWhole returns an error unless all that is in the shard is on this node: one
// key that is there and one that no shard has are refused while the slot moves.
func (s *shard) isWhole(ctx context.Context, node redis.Scripter) error {
	return refusal(ctx, node, []string{s.indexes[0], s.prefix})
}

// maxWaiting is how many records at most have been found and wait for others of
// their shard.
const maxWaiting = 100_000

// reindexNode indexes what SCAN finds, in batches of one shard each.
func (c *Cache) reindexNode(ctx context.Context, n *node) (total int, err error) {
	index, batch := c.touch("keep"), min(c.options.MaxRecords, max(maxWaiting/len(n.shards), 1))
	found := map[string][]string{} // the KEYS of touch.lua, by the prefix of a shard
	for _, s := range n.shards {
		found[s.prefix] = slices.Clone(s.indexes)
	}
	flush := func(prefix string) error {
		met, err := index(ctx, found[prefix])
		total, found[prefix] = total+met, found[prefix][:2]
		return err
	}
	names := n.client.ScanType(ctx, 0, c.everyName(), int64(c.options.MaxRecords), "string").Iterator()
	for names.Next(ctx) {
		name := names.Val()
		prefix := name[:strings.IndexByte(name, ':')+1]
		// What is in no shard of this node, or no encoded key, was not written by a Cache.
		if _, err := ParseKey(name[len(prefix):]); err != nil || found[prefix] == nil {
			continue
		}
		found[prefix] = append(found[prefix], name)
		if len(found[prefix]) == 2+batch {
			if err := flush(prefix); err != nil {
				return total, err
			}
		}
	}
	if err := names.Err(); err != nil {
		return total, fmt.Errorf("wildkey: SCAN: %w", err)
	}
	for _, s := range n.shards {
		if len(found[s.prefix]) > 2 {
			if err := flush(s.prefix); err != nil {
				return total, err
			}
		}
		if err := s.isWhole(ctx, n.client); err != nil {
			return total, fmt.Errorf("wildkey: SCAN: %w", err)
		}
	}
	return total, nil
}

// everyName is the pattern of SCAN for the records of all shards.
func (c *Cache) everyName() string {
	prefix := c.shards[0].prefix
	if len(c.shards) == 1 {
		return prefix + "*"
	}
	return strings.TrimSuffix(prefix, "0}:") + "*}:*"
}
