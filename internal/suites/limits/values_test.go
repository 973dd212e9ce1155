package limits

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
)

// TestValuesOfAnySize has values of 0 bytes and of 64 MB beside each other.
func TestValuesOfAnySize(t *testing.T) {
	sized := func(t *testing.T, b *backend.Backend, size int) {
		large := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
		records := []wildkey.Record{backend.Rec(wildkey.K("a"), ""), {Key: wildkey.K("b"), Value: large}, backend.Rec(wildkey.K("c"), "")}
		cache := b.Cache(t, wildkey.Options{})
		same := func(verb string, value, want []byte, err error) {
			t.Helper()
			if err != nil || value == nil || !bytes.Equal(value, want) {
				t.Errorf("%s: %d bytes, %v, want %d", verb, len(value), err, len(want))
			}
		}
		backend.Must(t, cache.Put(ctx, records...))
		for _, record := range records {
			value, err := cache.Get(ctx, record.Key)
			same("Get", value, record.Value, err)
		}
		values, err := cache.GetMany(ctx, wildkey.K("a"), wildkey.K("b"))
		backend.Must(t, err)
		same("GetMany", values[0], nil, err)
		same("GetMany", values[1], large, err)
		// The large one exceeds Options.CallBytes, and comes alone.
		var pages [][]wildkey.Entry
		for cursor, more := "", true; more; more = cursor != "" {
			page, err := cache.Page(ctx, wildkey.MustParsePattern("**"), cursor, 0)
			backend.Must(t, err)
			pages, cursor = append(pages, page.Entries), page.Cursor
		}
		if len(pages) != 3 || len(pages[1]) != 1 {
			t.Fatalf("%d pages", len(pages))
		}
		same("Page", pages[1][0].Value, large, nil)
		// A byte at the end decides.
		other := slices.Clone(large)
		other[len(other)-1] = 'x'
		err = cache.Put(ctx, wildkey.Record{Key: wildkey.K("b"), If: wildkey.Equal(other)})
		if !errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Put if equal to another value: %v", err)
		}
		for from, to := range map[string][]byte{"a": large, "b": nil} {
			was := map[string][]byte{"a": {}, "b": large}[from]
			backend.Must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K(from), Value: to, If: wildkey.Equal(was)}))
		}
		value, err := cache.Take(ctx, wildkey.K("a"))
		same("Take", value, large, err)
		value, err = cache.Take(ctx, wildkey.K("b"))
		same("Take", value, nil, err)

		n, err := cache.PutEach(ctx, slices.Values(records[:2]), nil)
		if n != 2 || err != nil {
			t.Errorf("PutEach: %d, %v", n, err)
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("**")); n != 3 || err != nil {
			t.Errorf("DeleteMatch: %d, %v", n, err)
		}
		writer := wildkey.NewWriter(cache, wildkey.WriterOptions{
			OnError: func(err error, _ []wildkey.Record, _ []wildkey.Key) { t.Error(err) },
		})
		backend.Must(t, writer.Put(ctx, records...))
		backend.Must(t, writer.Close())
		for _, record := range records {
			value, err := cache.Get(ctx, record.Key)
			same("Get after a Writer's put", value, record.Value, err)
		}
	}
	t.Run("engine", func(t *testing.T) {
		backend.OnEngine(t, func(t *testing.T, b *backend.Backend) { sized(t, b, 2<<20) })
	})
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		sized(t, b, 64<<20)
	}, "--maxmemory", "2gb")
}

// TestBatchesWithinScripts crosses the thousand values that scripts unpack at
// once, several times.
func TestBatchesWithinScripts(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		const written = 4_100
		cache := b.Cache(t, wildkey.Options{CallRecords: written})
		var records []wildkey.Record
		names := []string{"{test}/keys", "{test}/expiry"}
		for n := range written {
			records = append(records, backend.Rec(wildkey.K("new", n), fmt.Sprint(n)))
			names = append(names, "{test}:new:"+fmt.Sprint(n))
		}
		backend.Must(t, cache.Put(ctx, records...))
		values, err := b.Client.EvalSha(ctx, corpus.Load(t, b.Client, "delete"), names, "values").StringSlice()
		backend.Must(t, err)
		if !slices.EqualFunc(values, records, func(v string, r wildkey.Record) bool { return v == string(r.Value) }) {
			t.Errorf("delete gave %d values, not those of its %d records in order", len(values), written)
		}
		if n := b.Client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("%d Redis keys are left", n)
		}
	})
}
