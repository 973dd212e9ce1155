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

// TestLongestPages has keys and patterns made to be slow: each entry that is read
// is as long, or as deep, as a key can be, or just short of counting as two
// reads, and is compared to its end before it does not match. It holds a page
// at default bounds to the work and to the bytes of the index that this may be;
// with -v it logs the time that it takes a server's processor.
func TestLongestPages(t *testing.T) {
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
		{"prefixes, and another last segment", deep(2046), append(stars(1, slices.Repeat([]string{"^a*"}, 2044)...), "=b")},
		{"all match", deep(2046), stars(2046)},
		{"too deep", deep(2046), stars(1)},
		{"short of two reads, too short by a segment", deep(125), stars(126)},
		{"short of two reads, another last segment", deep(125), stars(124, "=b")},
		{"a long segment that differs in its last byte", "%06d:" + a(4000) + "a", stars(1, "="+a(4000)+"b")},
		{"a long segment that goes on", "%06d:" + a(4000) + "a", stars(1, "="+a(4000))},
		{"a long common head", a(4000) + "%06d:a", stars(1, "=b")},
		{"a long common literal", a(4000) + ":%06d:a", []string{"=" + a(4000), "*", "=b"}},
		{"suffixes, and another last segment", deep(2046), append(stars(1, slices.Repeat([]string{"^*a"}, 2044)...), "=b")},
		{"ranges, and another last segment", deep(2046), append(stars(1, slices.Repeat([]string{"[A<b"}, 2044)...), "=b")},
		{"a long suffix", "%06d:" + a(4000) + "a", stars(1, "^*b"+a(2000))},
		{"a long affix", "%06d:" + a(4000), stars(1, "^"+a(2000)+"*b"+a(2000))},
		{"a range that begins like a long segment", "%06d:" + strings.Repeat("0", 4000), stars(1, "["+strings.Repeat("0", 4090)+"<", "*")},
		{"a range that ends like a long segment", "%06d:" + strings.Repeat("0", 4000), stars(1, "["+strings.Repeat("0", 3999)+"<"+strings.Repeat("0", 4000), "*")},
		{"a range before a long segment", "%06d:" + strings.Repeat("0", 4000) + "1", stars(1, "[-<"+strings.Repeat("0", 4000), "*")},
		{"a long prefix", a(4000) + "%06d", []string{"^" + a(4000) + "*"}},
	} {
		prepare := func(t *testing.T, b *backend.Backend, want string) (page func()) {
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
			return func() { backend.Must(t, b.Client.EvalSha(ctx, digest, []string{"{test}/keys"}, args...).Err()) }
		}
		t.Run(row.name, func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				for _, want := range []string{"values", "records", "keys", "count", "index"} {
					page := prepare(t, b, want)
					b.Engine.ResetTrace()
					page()
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
					t.Logf("count: %v", processorTime(t, b, func() func() { return prepare(t, b, "count") }))
				})
			}
		})
	}
}

// TestLongestWrites names as many records as a Cache does at most, with the keys
// that take put.lua longest, in an index that is stale through and through, so that
// put.lua looks at as much of it as it ever will. It holds each script to the work
// that this may be; with -v it logs the time that it takes a server's processor.
func TestLongestWrites(t *testing.T) {
	const n, page, garbage = 250, 1000, 2000 // records of a write, suspects of a page, stale entries
	name := func(i int) string { return fmt.Sprintf("%06d:", i) + strings.Repeat("%00", 1363) }
	names := func(n int) []string {
		names := []string{"{test}/keys"}
		for i := range n {
			names = append(names, "{test}:"+name(i))
		}
		return names
	}
	digest := "#7a38d8cbd20d9932ba948efaa364bb62651d5ad4" // of v
	repeated := func(args ...any) []any { return slices.Repeat(args, n) }
	for _, row := range []struct {
		name, script string
		args         []any
		named        int   // records in KEYS
		live         int   // of these
		fresh        int   // of these, not in the index
		most         int64 // instructions
	}{
		{"put of new records", "put", repeated("3600000", "-", "v"), n, 0, n, 2_000_000},
		{"put over old records", "put", repeated("3600000", digest, "v"), n, n, 0, 2_000_000},
		{"touch", "put", repeated("touch never", digest, ""), n, n, 0, 2_000_000},
		{"delete by put.lua", "put", repeated("delete", digest, ""), n, n, 0, 2_000_000},
		{"delete", "delete", []any{"values"}, n, n, 0, 10_000},
		{"sweep", "sweep", nil, page, 0, 0, 40_000},
	} {
		prepare := func(t *testing.T, b *backend.Backend) (call func()) {
			t.Helper()
			b.Do(t, "FLUSHALL")
			for i := range row.live {
				b.Do(t, "SET", "{test}:"+name(i), "v")
			}
			add := []any{"ZADD", "{test}/keys"}
			for i := row.fresh; i < garbage; i++ {
				add = append(add, 0, name(i))
			}
			b.Do(t, add...)
			digest, keys := corpus.Load(t, b.Client, row.script), names(row.named)
			return func() { backend.Must(t, b.Client.EvalSha(ctx, digest, keys, row.args...).Err()) }
		}
		t.Run(row.name, func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				call := prepare(t, b)
				b.Engine.ResetTrace()
				call()
				work := b.Engine.Instructions()
				if t.Logf("%d instructions", work); work > row.most {
					t.Errorf("%d instructions, at most %d", work, row.most)
				}
			})
			if testing.Verbose() {
				backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
					t.Log(processorTime(t, b, func() func() { return prepare(t, b) }))
				})
			}
		})
	}
}

// processorTime is the least time, of five, that a call takes a server's
// processor. The call is made anew for each.
func processorTime(t *testing.T, b *backend.Backend, prepare func() (call func())) time.Duration {
	t.Helper()
	used := func() (sum time.Duration) {
		for _, line := range strings.Fields(b.Client.Info(ctx, "cpu").Val()) {
			if name, seconds, _ := strings.Cut(line, ":"); name == "used_cpu_user" || name == "used_cpu_sys" {
				d, err := time.ParseDuration(seconds + "s")
				backend.Must(t, err)
				sum += d
			}
		}
		return sum
	}
	var times []time.Duration
	for range 5 {
		call := prepare()
		before := used()
		call()
		times = append(times, used()-before)
	}
	return slices.Min(times)
}
