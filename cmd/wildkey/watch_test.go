package main

import (
	"context"
	"io"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestWatch adds up what the verbs that a Cache does whole have named.
func TestWatch(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx := context.Background()
		tool := newTool(nil, io.Discard, io.Discard)
		tool.url, tool.namespace = "redis://"+server.Addr, "app"
		s, err := tool.connect(ctx, writing)
		must(t, err)
		defer s.client.Close()
		const n = 600
		for i := range n {
			must(t, s.cache.Put(ctx, wildkey.Record{Key: wildkey.K(i), TTL: wildkey.NoExpiry}))
		}
		everything := wildkey.MustParsePattern("**")
		for _, verb := range []struct {
			script string
			do     func() error
		}{
			{"touch", func() error { _, err := s.cache.Reindex(ctx); return err }},
			{"sweep", func() error { _, err := s.cache.Sweep(ctx); return err }},
			{"delete", func() error { _, err := s.cache.DeleteMatch(ctx, everything); return err }},
		} {
			seen, calls := 0, 0
			s.watch(verb.script, func(records int) { seen, calls = seen+records, calls+1 })
			must(t, verb.do())
			if seen != n || calls < 3 {
				t.Errorf("%s: saw %d records in %d calls, want %d in 3", verb.script, seen, calls, n)
			}
		}
	})
}
