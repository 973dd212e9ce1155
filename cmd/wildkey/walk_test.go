package main

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestWalkBoundsMemory reads values that do not fit one snapshot together: no
// snapshot holds more than its bound, or one record, and nothing is lost.
func TestWalkBoundsMemory(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx := context.Background()
		tool := newTool(nil, io.Discard, io.Discard)
		tool.url, tool.namespace = "redis://"+server.Addr, "app"
		s, err := tool.connect(ctx, writing)
		must(t, err)
		defer s.client.Close()
		lengths := map[string]int{"a": 600 << 10, "b": 500 << 10, "c": 400 << 10, "d": 3 << 20, "e": 0, "f": 1, "g": 1 << 20}
		for key, length := range lengths {
			must(t, s.cache.Put(ctx, wildkey.Record{
				Key: wildkey.K(key), Value: bytes.Repeat([]byte(key), length), TTL: wildkey.NoExpiry,
			}))
		}
		var places []place
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			places = append(places, place{"{app}", key})
		}
		var parts [][]string
		for part, err := range s.parts(ctx, places, values) {
			must(t, err)
			var keys []string
			for _, place := range part {
				keys = append(keys, place.encoded)
			}
			parts = append(parts, keys)
		}
		if diff := cmp.Diff([][]string{{"a"}, {"b", "c"}, {"d"}, {"e", "f"}, {"g"}}, parts); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		var keys []string
		for record, err := range s.walk(ctx, wildkey.MustParsePattern("**"), values) {
			must(t, err)
			keys = append(keys, record.encoded)
			if !bytes.Equal(record.value, bytes.Repeat([]byte(record.encoded), lengths[record.encoded])) {
				t.Errorf("%s has %d bytes, want %d of its own", record.encoded, len(record.value), lengths[record.encoded])
			}
		}
		if !slices.Equal(keys, []string{"a", "b", "c", "d", "e", "f", "g"}) {
			t.Errorf("walked %v", keys)
		}
	})
}

// TestWalkManyBatches walks more records than one snapshot takes.
func TestWalkManyBatches(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx := context.Background()
		tool := newTool(nil, io.Discard, io.Discard)
		tool.url, tool.namespace = "redis://"+server.Addr, "app"
		s, err := tool.connect(ctx, writing)
		must(t, err)
		defer s.client.Close()
		const n = 2*snapshotRecords + 1
		for i := range n {
			must(t, s.cache.Put(ctx, wildkey.Record{Key: wildkey.K(i), TTL: wildkey.NoExpiry}))
		}
		met := map[string]bool{}
		for record, err := range s.walk(ctx, wildkey.MustParsePattern("**"), sizes) {
			must(t, err)
			met[record.encoded] = true
		}
		if len(met) != n {
			t.Errorf("met %d records of %d", len(met), n)
		}
	})
}
