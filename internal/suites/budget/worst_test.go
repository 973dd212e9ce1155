package budget

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
)

// TestWorstPages has keys and patterns made to be slow: each entry that is read
// is as long, or as deep, as a key can be, or just short of counting as two
// reads, and is compared to its end before it does not match. It holds a page
// at default bounds to the work and to the bytes of the index that this may be;
// with -v it logs the time that a server takes for it.
func TestWorstPages(t *testing.T) {
	const reads, most = 1_000, 4_000_000 // instructions
	a := func(n int) string { return strings.Repeat("a", n) }
	deep := func(segments int) string { return "%06d" + strings.Repeat(":a", segments-1) }
	stars := func(n int, last ...string) []string { return append(slices.Repeat([]string{"*"}, n), last...) }
	for _, row := range []struct {
		name, key string // the key in the form of fmt, with its number
		terms     []string
	}{
		{"too short by a segment", deep(2046), stars(2047)},
		{"another last segment", deep(2046), stars(2045, "=b")},
		{"prefixes, and another last segment", deep(2046), append(stars(1, slices.Repeat([]string{"^a"}, 2044)...), "=b")},
		{"all match", deep(2046), stars(2046)},
		{"too deep", deep(2046), stars(1)},
		{"short of two reads, too short by a segment", deep(125), stars(126)},
		{"short of two reads, another last segment", deep(125), stars(124, "=b")},
		{"a long segment that differs in its last byte", "%06d:" + a(4000) + "a", stars(1, "="+a(4000)+"b")},
		{"a long segment that goes on", "%06d:" + a(4000) + "a", stars(1, "="+a(4000))},
		{"a long common head", a(4000) + "%06d:a", stars(1, "=b")},
		{"a long common literal", a(4000) + ":%06d:a", []string{"=" + a(4000), "*", "=b"}},
		{"a long prefix", a(4000) + "%06d", []string{"^" + a(4000)}},
	} {
		page := func(t *testing.T, b *backend.Backend, want string) {
			t.Helper()
			add := []any{"ZADD", "{test}/keys"}
			for i := range reads + 200 {
				add = append(add, 0, fmt.Sprintf(row.key, i))
			}
			b.Do(t, "FLUSHALL")
			b.Do(t, add...)
			args := []any{want, "", 500, reads, 1 << 20}
			for _, term := range row.terms {
				args = append(args, term)
			}
			digest := corpus.Load(t, b.Client, "match")
			if b.Engine != nil {
				b.Engine.ResetTrace()
			}
			backend.Must(t, b.Client.EvalSha(ctx, digest, []string{"{test}/keys", "{test}/expiry"}, args...).Err())
		}
		t.Run(row.name, func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				for _, want := range []string{"values", "keys", "count"} {
					page(t, b, want)
					fetched := 0
					for _, call := range b.Engine.Trace() {
						if entries, ok := call.Reply.([]any); ok && call.Args[0] == "ZRANGEBYLEX" {
							for _, entry := range entries {
								fetched += len(entry.(string))
							}
						}
					}
					work := b.Engine.Instructions()
					t.Logf("%s: %d instructions, %d bytes of the index", want, work, fetched)
					// Of four entries that are read before a leap, three are not looked at.
					if work > most || fetched > 4*256*reads {
						t.Errorf("%s: %d instructions, at most %d; %d bytes of the index, at most %d",
							want, work, most, fetched, 4*256*reads)
					}
				}
			})
			if testing.Verbose() { // a time to look at, which no test may judge
				backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
					t.Logf("count: %v on the server, the shortest of three", shortestCall(t, b, func() { page(t, b, "count") }))
				})
			}
		})
	}
}

// TestWorstWrites names as many records as a Cache does at most, with the keys
// that take put.lua longest, and as much garbage as it purges; and has sweep.lua
// purge as much as it ever will. It holds each script to the work that this may
// be; with -v it logs what a server takes.
func TestWorstWrites(t *testing.T) {
	const n = 250
	name := func(i int) string { return fmt.Sprintf("%06d:", i) + strings.Repeat("%00", 1363) }
	keys := []string{"{test}/keys", "{test}/expiry"}
	for i := range n {
		keys = append(keys, "{test}:"+name(i))
	}
	repeated := func(args ...any) []any { return slices.Repeat(args, n) }
	for _, row := range []struct {
		script  string
		args    []any
		garbage int
		most    int64 // instructions
	}{
		{"put", repeated("v", "3600000", "*"), 64 + 2*n, 2_000_000},
		{"touch", repeated("3600000"), 64 + 2*n, 30_000},
		{"delete", []any{"values"}, 64 + 2*n, 10_000},
		{"sweep", []any{64 + 2*n}, 64 + 2*n, 20_000},
		{"sweep", []any{9_999}, 9_999, 200_000},
	} {
		call := func(t *testing.T, b *backend.Backend) {
			t.Helper()
			b.Do(t, "FLUSHALL")
			if row.script == "touch" || row.script == "delete" {
				backend.Must(t, b.Client.EvalSha(ctx, corpus.Load(t, b.Client, "put"), keys, repeated("v", "3600000", "*")...).Err())
			}
			order, expiry := []any{"ZADD", keys[0]}, []any{"ZADD", keys[1]}
			for i := range row.garbage {
				order, expiry = append(order, 0, name(n+i)), append(expiry, 1, name(n+i))
			}
			b.Do(t, order...)
			b.Do(t, expiry...)
			digest := corpus.Load(t, b.Client, row.script)
			if b.Engine != nil {
				b.Engine.ResetTrace()
			}
			backend.Must(t, b.Client.EvalSha(ctx, digest, keys, row.args...).Err())
		}
		t.Run(fmt.Sprintf("%s, %d expired", row.script, row.garbage), func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				call(t, b)
				work := b.Engine.Instructions()
				if t.Logf("%d instructions", work); work > row.most {
					t.Errorf("%d instructions, at most %d", work, row.most)
				}
			})
			if testing.Verbose() {
				backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
					t.Logf("%v on the server, the shortest of three", shortestCall(t, b, func() { call(t, b) }))
				})
			}
		})
	}
}

// shortestCall is the least time, of three, that a server takes for the last
// script that call has it run, as its slow log has it.
func shortestCall(t *testing.T, b *backend.Backend, call func()) (shortest time.Duration) {
	t.Helper()
	b.Do(t, "CONFIG", "SET", "slowlog-log-slower-than", 0)
	for range 3 {
		call()
		for _, slow := range b.Client.SlowLogGet(ctx, 5).Val() {
			if strings.EqualFold(slow.Args[0], "EVALSHA") {
				if shortest == 0 || slow.Duration < shortest {
					shortest = slow.Duration
				}
				break
			}
		}
	}
	return shortest
}
