package main

import (
	"context"
	"sync"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestWatch adds up what the verbs that a Cache and package admin do whole have
// named, on a server and on a cluster. Leases do not count.
func TestWatch(t *testing.T) {
	redisserver.Each(t, watchVerbs)
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		watchVerbs(t, cluster.Nodes[0])
	})
}

func watchVerbs(t *testing.T, server *redisserver.Server) {
	ctx, s := context.Background(), connect(t, server, writing)
	const n = 600
	for i := range n {
		must(t, s.cache.Put(ctx, wildkey.Record{Key: wildkey.K(i), TTL: wildkey.NoExpiry}))
	}
	everything := wildkey.MustParsePattern("**")
	lease := wildkey.Record{Key: wildkey.K("loaded"), TTL: wildkey.NoExpiry}
	withLease := func(do func() error) error {
		_, err := s.cache.Apply(ctx, wildkey.OpPut(lease).OnLease())
		must(t, err)
		defer s.cache.Apply(ctx, wildkey.OpDelete(lease.Key).OnLease())
		return do()
	}
	for _, verb := range []struct {
		name  string
		calls int
		do    func() error
	}{
		{"ZADD", 3, func() error {
			return withLease(func() error { _, err := admin.Reindex(ctx, s.client, s.layout); return err })
		}},
		{"match", 1, func() error { _, err := s.cache.Sweep(ctx); return err }},
		{"put", 3, func() error { _, err := s.cache.TouchMatch(ctx, wildkey.NoExpiry, everything); return err }},
		{"delete", 3, func() error {
			return withLease(func() error { _, err := s.voids.DeleteMatch(ctx, everything); return err })
		}},
	} {
		var mu sync.Mutex
		seen, calls := 0, 0
		must(t, s.watch(ctx, verb.name, func(index string, n int) {
			mu.Lock()
			defer mu.Unlock()
			if index != "{app}/keys" {
				t.Errorf("%s: saw the index %s", verb.name, index)
			}
			seen, calls = seen+n, calls+1
		}))
		must(t, verb.do())
		if seen != n || calls < verb.calls {
			t.Errorf("%s: saw %d records in %d calls, want %d in %d", verb.name, seen, calls, n, verb.calls)
		}
	}
}
