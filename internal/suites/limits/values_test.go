package limits

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/writer"
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
			page, err := cache.Page(ctx, wildkey.MustParsePattern("**"), wildkey.PageOptions{Cursor: cursor})
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
		for _, row := range []struct {
			condition wildkey.Condition
			want      error
		}{
			{wildkey.Equal(other), wildkey.ErrCondition}, {wildkey.EqualSHA1(sha1Of(other)), wildkey.ErrCondition},
			{wildkey.Equal(large), nil}, {wildkey.EqualSHA1(sha1Of(large)), nil},
		} {
			if _, err := cache.Apply(ctx, wildkey.OpCheck(wildkey.K("b")).If(row.condition)); !errors.Is(err, row.want) {
				t.Errorf("OpCheck of a large value: %v, want %v", err, row.want)
			}
		}
		for from, to := range map[string][]byte{"a": large, "b": nil} {
			was := map[string][]byte{"a": {}, "b": large}[from]
			backend.Must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K(from), Value: to, If: wildkey.Equal(was)}))
		}
		value, err := cache.Take(ctx, wildkey.K("a"))
		same("Take", value, large, err)
		value, err = cache.Take(ctx, wildkey.K("b"))
		same("Take", value, nil, err)

		n, err := cache.PutEach(ctx, all(records[:2]...), nil)
		if n != 2 || err != nil {
			t.Errorf("PutEach: %d, %v", n, err)
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("**")); n != 3 || err != nil {
			t.Errorf("DeleteMatch: %d, %v", n, err)
		}
		w := writer.New(cache, writer.Options{OnError: func(f writer.Failure) { t.Error(f.Err) }})
		backend.Must(t, w.Put(ctx, records...))
		backend.Must(t, w.Close(ctx))
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

func sha1Of(value []byte) string { return fmt.Sprintf("%x", sha1.Sum(value)) }

// TestMostRecordsOfACall has as many records in each call as Options.CallRecords
// allows: scripts unpack them a thousand at a time.
func TestMostRecordsOfACall(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		const most = 10_000
		cache := b.Cache(t, wildkey.Options{CallRecords: most, PageLimit: 99_999, PageReads: 99_999})
		var records []wildkey.Record
		var keys []wildkey.Key
		var mixed []wildkey.Op // an operation of each kind in turn, a third of them deletes
		names := []string{"{test}/keys"}
		for n := range most {
			key := wildkey.K("new", 100_000+n)
			records, keys = append(records, backend.Rec(key, fmt.Sprint(n))), append(keys, key)
			names = append(names, "{test}:"+key.String())
			switch n % 3 {
			case 0:
				mixed = append(mixed, wildkey.OpDelete(key).If(wildkey.Present()))
			case 1:
				mixed = append(mixed, wildkey.OpPut(records[n]).If(wildkey.Equal(records[n].Value)))
			case 2:
				mixed = append(mixed, wildkey.OpTouch(key, wildkey.NoExpiry))
			}
		}
		number := func(verb string, want, n int, err error) {
			t.Helper()
			if n != want || err != nil {
				t.Errorf("%s: %d, %v, want %d", verb, n, err, want)
			}
		}
		backend.Must(t, cache.Put(ctx, records...))
		n, err := cache.Touch(ctx, 2*time.Hour, keys...)
		number("Touch", most, n, err)
		n, err = cache.Count(ctx, wildkey.MustParsePattern("**"))
		number("Count", most, n, err)
		var more []wildkey.Record // so that a page has more than unpack is good for
		for n := range most {
			more = append(more, backend.Rec(wildkey.K("more", n), ""))
		}
		backend.Must(t, cache.Put(ctx, more...))
		n, err = cache.Count(ctx, wildkey.MustParsePattern("**"))
		number("Count of all", 2*most, n, err)
		n, err = cache.DeleteMatch(ctx, wildkey.MustParsePattern("more:*"))
		number("DeleteMatch", most, n, err)
		page, err := cache.Page(ctx, wildkey.MustParsePattern("new:*"), wildkey.PageOptions{})
		backend.Must(t, err)
		if diff := cmp.Diff(keys, keysOf(page.Entries)); diff != "" || page.Cursor != "" {
			t.Errorf("one page, cursor %q (-put +found)\n%.2000s", page.Cursor, diff)
		}
		values, err := cache.GetMany(ctx, keys...)
		if err != nil || len(values) != most || string(values[most-1]) != fmt.Sprint(most-1) {
			t.Errorf("GetMany: %d values, %v", len(values), err)
		}

		n, err = cache.Apply(ctx, mixed...)
		number("Apply", most, n, err)
		var failed *wildkey.ConditionError
		if _, err = cache.Apply(ctx, mixed...); !errors.As(err, &failed) || failed.Index != 0 {
			t.Errorf("Apply anew: %v", err)
		}
		const deleted = (most + 2) / 3
		if n := b.Client.ZCard(ctx, "{test}/keys").Val(); n != most-deleted {
			t.Errorf("the index has %d entries, want %d", n, most-deleted)
		}
		values, err = cache.GetMany(ctx, keys...)
		backend.Must(t, err)
		for i, value := range values {
			if (value == nil) != (i%3 == 0) {
				t.Fatalf("after Apply, record %d is %q", i, value)
			}
		}
		replies, err := b.Client.EvalSha(ctx, corpus.Load(t, b.Client, "delete"), names, "values").Slice()
		backend.Must(t, err)
		for i, value := range replies {
			if i%3 == 0 && value != nil || i%3 > 0 && value != string(records[i].Value) {
				t.Fatalf("delete.lua says of record %d: %v", i, value)
			}
		}
		if n := b.Client.DBSize(ctx).Val(); len(replies) != most || n != 0 {
			t.Errorf("%d values, and %d Redis keys are left", len(replies), n)
		}

		backend.Must(t, cache.Put(ctx, records...))
		for gone := range slices.Chunk(names[1:deleted+1], 1000) {
			backend.Must(t, b.Client.Del(ctx, gone...).Err())
		}
		n, err = b.Client.EvalSha(ctx, corpus.Load(t, b.Client, "sweep"), names).Int()
		number("sweep.lua", deleted, n, err)
		n, err = cache.Delete(ctx, keys...)
		number("Delete", most-deleted, n, err)
		if n := b.Client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("%d Redis keys are left", n)
		}
		if _, err := cache.Delete(ctx, append(keys, wildkey.K("one more"))...); !errors.Is(err, wildkey.ErrTooMany) {
			t.Errorf("Delete of one more: %v", err)
		}
	})
}

func keysOf(entries []wildkey.Entry) (keys []wildkey.Key) {
	for _, entry := range entries {
		keys = append(keys, entry.Key)
	}
	return keys
}
