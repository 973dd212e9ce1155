package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
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
	for name, err := range s.indexes(ctx, math.MaxInt) {
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

// scanCount is how many keys one call of SCAN looks at.
const scanCount = 1_000

// errMore ends a walk that has called SCAN on a node as often as it may.
var errMore = errors.New("there are more keys")

// indexes yields the names of all Redis keys that may be an index, as far as so many calls
// of SCAN on each node meet them.
func (s *session) indexes(ctx context.Context, calls int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		masters, err := s.nodes(ctx, true)
		if err != nil {
			yield("", err)
			return
		}
		var more error
		for _, master := range masters {
			var cursor uint64
			for call := 0; call == 0 || cursor != 0; call++ {
				if call == calls {
					more = errMore
					break
				}
				var names []string
				names, cursor, err = master.ScanType(ctx, cursor, wildkey.IndexGlob, scanCount, "zset").Result()
				if err != nil {
					yield("", fmt.Errorf("SCAN on %s: %w", master.address, err))
					return
				}
				for _, name := range names {
					if !yield(name, nil) {
						return
					}
				}
			}
		}
		if more != nil {
			yield("", more)
		}
	}
}

// parseTag is wildkey.ParseTag of the hash tag that a Redis key begins with.
func parseTag(name string) (wildkey.Options, int, bool) {
	tag, _, _ := strings.Cut(name, "}")
	return wildkey.ParseTag(tag + "}")
}
