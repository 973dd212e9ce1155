package main

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/wildkey/wildkey"
)

// spread names the first and the last hash tag of a namespace.
func spread(layout wildkey.Layout) string {
	first, last := layout.Tag(0), layout.Tag(layout.Shards()-1)
	if first == last {
		return first
	}
	return first + ".." + last
}

// located is a namespace that has an index on the server.
type located struct {
	wildkey.Layout
	namespace string
	indexed   []int // the shards that have one
}

// locate returns all namespaces that have an index, one for each number of shards.
// It goes through the whole keyspace with SCAN.
func (s *session) locate(ctx context.Context) ([]located, error) {
	met := map[wildkey.Options]*located{}
	for name, err := range s.indexes(ctx) {
		if err != nil {
			return nil, err
		}
		options, shard, ok := parseTag(name)
		if !ok {
			continue
		}
		if met[options] == nil {
			layout, err := wildkey.NewLayout(options.Namespace, options.Shards, options.ShardSegments)
			if err != nil {
				return nil, err
			}
			met[options] = &located{Layout: layout, namespace: options.Namespace}
		}
		// SCAN may meet a key twice, and another program's key may look like an index.
		if found := met[options]; found.Index(shard) == name && !slices.Contains(found.indexed, shard) {
			found.indexed = append(found.indexed, shard)
		}
	}
	var all []located
	for _, found := range met {
		if len(found.indexed) > 0 {
			all = append(all, *found)
		}
	}
	slices.SortFunc(all, func(a, b located) int {
		return cmp.Or(
			cmp.Compare(a.namespace, b.namespace),
			cmp.Compare(a.Shards(), b.Shards()),
			cmp.Compare(a.ShardSegments(), b.ShardSegments()),
		)
	})
	return all, nil
}

// indexes yields the names of all Redis keys that may be an index.
func (s *session) indexes(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		masters, err := s.nodes(ctx, true)
		if err != nil {
			yield("", err)
			return
		}
		for _, master := range masters {
			names := master.ScanType(ctx, 0, wildkey.IndexGlob, 1_000, "zset").Iterator()
			for names.Next(ctx) {
				if !yield(names.Val(), nil) {
					return
				}
			}
			if err := names.Err(); err != nil {
				yield("", fmt.Errorf("SCAN on %s: %w", master.address, err))
				return
			}
		}
	}
}

// parseTag is wildkey.ParseTag of the hash tag that a Redis key begins with.
func parseTag(name string) (wildkey.Options, int, bool) {
	tag, _, _ := strings.Cut(name, "}")
	return wildkey.ParseTag(tag + "}")
}
