// Package limits takes every verb to the limits of keys, patterns and values.
package limits

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/writer"
)

var ctx = context.Background()

// everyByte is all bytes, 0 to 255.
var everyByte = func() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}()

// TestEveryByte has every byte in the namespace, the segments and the values,
// through every verb and back.
func TestEveryByte(t *testing.T) {
	records := []wildkey.Record{
		backend.Rec(wildkey.K(everyByte), everyByte), backend.Rec(wildkey.K(everyByte, everyByte), ""),
		backend.Rec(wildkey.K("some", everyByte[:128], everyByte[128:]), everyByte),
	}
	for i := range everyByte {
		one := everyByte[i : i+1]
		records = append(records, backend.Rec(wildkey.K(one), one), backend.Rec(wildkey.K("some", one, one+one), one))
	}
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, shards := range []int{1, 3} {
			throughEveryVerb(t, b, wildkey.Options{Namespace: everyByte, Shards: shards}, records)
		}
	})
}

// longestKeys have 4,096 bytes encoded: in one segment, in escapes, and in as
// many segments as there can be.
func longestKeys() []wildkey.Key {
	deep := wildkey.Key(slices.Repeat([]string{"a"}, 2048))
	deep[1000] = "bb"
	return []wildkey.Key{
		wildkey.K(strings.Repeat("a", 4096)), wildkey.K(strings.Repeat("\xff", 1365) + "a"),
		wildkey.K("b", strings.Repeat("a", 4094)), deep,
	}
}

// TestLongestKeys has keys of 4,096 bytes through every verb, and expects each
// verb, and put.lua itself for each action, to refuse a byte more.
func TestLongestKeys(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		var records []wildkey.Record
		for _, key := range longestKeys() {
			if n := len(key.String()); n != 4096 {
				t.Fatalf("a key of %d bytes", n)
			}
			records = append(records, backend.Rec(key, "v"))
		}
		for _, shards := range []int{1, 3} {
			throughEveryVerb(t, b, wildkey.Options{Namespace: "longest", Shards: shards}, records)
		}

		cache, digest := b.Cache(t, wildkey.Options{}), corpus.Load(t, b.Client, "put")
		errOf := func(_ any, err error) error { return err }
		for _, key := range longestKeys() {
			key[len(key)-1] += "a"
			tooLong := backend.Rec(key, "v")
			for _, row := range []struct {
				verb      string
				err, want error
			}{
				{"Put", cache.Put(ctx, tooLong), wildkey.ErrInvalidKey},
				{"Apply of a touch", errOf(cache.Apply(ctx, wildkey.OpTouch(key, time.Hour))), wildkey.ErrInvalidKey},
				{"Apply of a delete", errOf(cache.Apply(ctx, wildkey.OpDelete(key))), wildkey.ErrInvalidKey},
				{"Apply of a check", errOf(cache.Apply(ctx, wildkey.OpCheck(key).If(wildkey.Absent()))), wildkey.ErrInvalidKey},
				{"Get", errOf(cache.Get(ctx, key)), wildkey.ErrInvalidKey},
				{"GetTouch", errOf(cache.GetTouch(ctx, time.Hour, key)), wildkey.ErrInvalidKey},
				{"TTL", errOf(cache.TTL(ctx, key)), wildkey.ErrInvalidKey},
				{"GetMany", errOf(cache.GetMany(ctx, key)), wildkey.ErrInvalidKey},
				{"Delete", errOf(cache.Delete(ctx, key)), wildkey.ErrInvalidKey},
				{"Take", errOf(cache.Take(ctx, key)), wildkey.ErrInvalidKey},
				{"Touch", errOf(cache.Touch(ctx, time.Hour, key)), wildkey.ErrInvalidKey},
				{"PutEach", errOf(cache.PutEach(ctx, all(tooLong), nil)), wildkey.ErrInvalidKey},
				{"DeleteEach", errOf(cache.DeleteEach(ctx, all(key), nil)), wildkey.ErrInvalidKey},
				{"TouchEach", errOf(cache.TouchEach(ctx, time.Hour, all(key), nil)), wildkey.ErrInvalidKey},
				{"Layout.Record", errOf(cache.Layout().Record(key)), wildkey.ErrInvalidKey},
				{"ParseKey", errOf(wildkey.ParseKey(key.String())), wildkey.ErrInvalidKey},
				{"Count of all under it", errOf(cache.Count(ctx, wildkey.Under(key))), wildkey.ErrBadPattern},
				{"Page of all under it", errOf(cache.Page(ctx, wildkey.Under(key), wildkey.PageOptions{})), wildkey.ErrBadPattern},
				{"ParsePattern", errOf(wildkey.ParsePattern(key.String())), wildkey.ErrBadPattern},
				{"ParsePattern of a prefix", errOf(wildkey.ParsePattern(key.String() + "*")), wildkey.ErrBadPattern},
			} {
				if !errors.Is(row.err, row.want) {
					t.Errorf("%s, of 4097 bytes: %v, want %v", row.verb, row.err, row.want)
				}
			}
			for action, value := range map[string]string{"1": "v", "keep": "v", "touch 1": "", "delete": "", "check": ""} {
				err := b.Client.EvalSha(ctx, digest, []string{"{t}/keys", "{t}:" + key.String()}, action, "+", value).Err()
				if !redis.HasErrorPrefix(err, "BADARG put: KEYS[2] is not {t}: and an encoded key") {
					t.Errorf("put.lua, action %s, of a key of 4097 bytes: %v", action, err)
				}
			}
		}
	})
}

// TestLongestPattern: what Go takes, match.lua takes; what is longer than any key, neither.
func TestLongestPattern(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, digest := b.Cache(t, wildkey.Options{}), corpus.Load(t, b.Client, "match")
		for _, row := range []struct {
			name, argument, text string
			times                int
			ok                   bool
		}{
			{"as many segments as a key can have", "*", "*", 2048, true},
			{"a segment more", "*", "*", 2049, false},
			{"as long a prefix", "^" + strings.Repeat("a", 4096) + "*", strings.Repeat("a", 4096) + "*", 1, true},
			{"a byte more", "^" + strings.Repeat("a", 4097) + "*", strings.Repeat("a", 4097) + "*", 1, false},
			{"as long an affix", "^" + strings.Repeat("a", 4000) + "*" + strings.Repeat("b", 96), strings.Repeat("a", 4000) + "*" + strings.Repeat("b", 96), 1, true},
			{"an affix with a byte more", "^" + strings.Repeat("a", 4000) + "*" + strings.Repeat("b", 97), strings.Repeat("a", 4000) + "*" + strings.Repeat("b", 97), 1, false},
			{"as many ranges as a key can have segments", "[a<b", "a<b", 2048, true},
			{"a range more", "[a<b", "a<b", 2049, false},
			{"a range up to as long a segment", "[<" + strings.Repeat("a", 4096), "<" + strings.Repeat("a", 4096), 1, true},
			{"up to a byte more", "[<" + strings.Repeat("a", 4097), "<" + strings.Repeat("a", 4097), 1, false},
			{"literals", "=" + strings.Repeat("a", 63), strings.Repeat("a", 63), 64, true},
			{"a literal more", "=" + strings.Repeat("a", 63), strings.Repeat("a", 63), 65, false},
		} {
			for _, rest := range []string{"", "**"} {
				terms, args := slices.Repeat([]string{row.text}, row.times), []any{"count", "", 9, 9, 9}
				for range row.times {
					args = append(args, row.argument)
				}
				if rest != "" {
					terms, args = append(terms, rest), append(args, rest)
				}
				pattern, err := wildkey.ParsePattern(strings.Join(terms, ":"))
				if err == nil {
					_, err = cache.Count(ctx, pattern)
				}
				if row.ok != (err == nil) || !row.ok && !errors.Is(err, wildkey.ErrBadPattern) {
					t.Errorf("%s %s: %.200v", row.name, rest, err)
				}
				err = b.Client.EvalSha(ctx, digest, []string{"{t}/keys"}, args...).Err()
				if row.ok != (err == nil) || !row.ok && !redis.HasErrorPrefix(err, "BADARG match: ") {
					t.Errorf("match.lua, %s %s: %.200v", row.name, rest, err)
				}
			}
		}
	})
}

// TestDeepestKey has as many segments, and terms, as a key may have.
func TestDeepestKey(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		deepest := wildkey.Key(slices.Repeat([]string{"a"}, 2048))
		backend.Must(t, cache.Put(ctx, backend.Rec(deepest, "v"), backend.Rec(deepest[:2047], "v")))
		for _, row := range []struct {
			terms int
			last  wildkey.Term
			want  int
		}{{2047, wildkey.Any(), 1}, {2046, wildkey.Any(), 1}, {2047, wildkey.Rest(), 2}, {2047, wildkey.Lit("b"), 0}, {2047, wildkey.Prefix("a"), 1}} {
			pattern, err := wildkey.NewPattern(append(slices.Repeat([]wildkey.Term{wildkey.Any()}, row.terms), row.last)...)
			backend.Must(t, err)
			found, err := cache.Collect(ctx, pattern)
			if len(found) != row.want || err != nil {
				t.Errorf("%d wildcards and %v: %d records, %v, want %d", row.terms, row.last, len(found), err, row.want)
			}
		}
	})
}

// throughEveryVerb puts the records and has each verb meet them all.
func throughEveryVerb(t *testing.T, b *backend.Backend, options wildkey.Options, records []wildkey.Record) {
	t.Helper()
	b.Do(t, "FLUSHALL")
	options.TTL, options.CallRecords, options.ShardSegments = time.Hour, len(records)+1, 2
	cache := b.Cache(t, options)
	var want []string
	var keys []wildkey.Key
	for _, record := range records {
		want, keys = append(want, record.Key.String()+"="+string(record.Value)), append(keys, record.Key)
	}
	slices.SortFunc(want, func(a, b string) int {
		a, _, _ = strings.Cut(a, "=")
		b, _, _ = strings.Cut(b, "=")
		return strings.Compare(a, b)
	})
	everything := wildkey.MustParsePattern("**")
	wantAll := func(after string) {
		t.Helper()
		found, err := cache.Collect(ctx, everything)
		backend.Must(t, err)
		if diff := cmp.Diff(want, backend.Entries(found)); diff != "" {
			t.Errorf("%s: (-want +got)\n%.2000s", after, diff)
		}
	}
	number := func(verb string, n int, err error) {
		t.Helper()
		if n != len(records) || err != nil {
			t.Errorf("%s: %d, %v, want %d", verb, n, err, len(records))
		}
	}
	each := func(after string, outcome func(record wildkey.Record, value []byte) error) {
		t.Helper()
		for _, record := range records {
			value, err := cache.Get(ctx, record.Key)
			backend.Must(t, err)
			if err := outcome(record, value); err != nil {
				t.Errorf("%s, %.300q: %v", after, record.Key, err)
			}
		}
	}

	n, err := cache.PutEach(ctx, all(records...), nil)
	number("PutEach", n, err)
	wantAll("PutEach")
	values, err := cache.GetMany(ctx, keys...)
	backend.Must(t, err)
	for i, value := range values {
		if value == nil || !bytes.Equal(value, records[i].Value) {
			t.Errorf("GetMany: %.300q has %q", keys[i], value)
		}
	}
	each("Get, and Put on conditions", func(record wildkey.Record, value []byte) error {
		if !bytes.Equal(value, record.Value) {
			return fmt.Errorf("Get: %q", value)
		}
		if value, err := cache.GetTouch(ctx, time.Hour, record.Key); err != nil || !bytes.Equal(value, record.Value) {
			return fmt.Errorf("GetTouch: %q, %v", value, err)
		}
		record.If = wildkey.Equal(append(value, 'x'))
		if err := cache.Put(ctx, record); !errors.Is(err, wildkey.ErrCondition) {
			return fmt.Errorf("equal to another value: %v", err)
		}
		record.If = wildkey.Absent()
		if err := cache.Put(ctx, record); !errors.Is(err, wildkey.ErrCondition) {
			return fmt.Errorf("absent: %v", err)
		}
		record.If = wildkey.Equal(record.Value)
		if err := cache.Put(ctx, record); err != nil {
			return err
		}
		record.If = wildkey.EqualSHA1(sha1Of(record.Value))
		n, err := cache.Apply(ctx, wildkey.OpPut(record))
		if n != 1 || err != nil {
			return fmt.Errorf("equal by digest: %d, %v", n, err)
		}
		n, err = cache.Apply(ctx, wildkey.OpTouch(record.Key, time.Hour).If(record.If))
		return errors.Join(err, outcomeOf(n == 1))
	})
	each("just this pattern", func(record wildkey.Record, value []byte) error {
		var terms []wildkey.Term
		for _, segment := range record.Key {
			terms = append(terms, wildkey.Lit(segment))
		}
		pattern, err := wildkey.NewPattern(terms...)
		backend.Must(t, err)
		for _, p := range []wildkey.Pattern{pattern, wildkey.MustParsePattern(record.Key.String())} {
			found, err := cache.Collect(ctx, p)
			if err != nil || len(found) != 1 || !slices.Equal(found[0].Key, record.Key) || !p.Matches(record.Key) {
				return fmt.Errorf("%.300q, %v", found, err)
			}
		}
		found, err := cache.Page(ctx, wildkey.Under(record.Key), wildkey.PageOptions{Limit: 1})
		if err != nil || !slices.Equal(found.Entries[0].Key, record.Key) {
			return fmt.Errorf("under it: %.300q, %v", found, err)
		}
		return nil
	})
	var paged []wildkey.Entry
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := cache.Page(ctx, everything, wildkey.PageOptions{Cursor: cursor, Limit: 2})
		backend.Must(t, err)
		paged, cursor = append(paged, page.Entries...), page.Cursor
	}
	if diff := cmp.Diff(want, backend.Entries(paged)); diff != "" {
		t.Errorf("pages of two: (-want +got)\n%.2000s", diff)
	}
	n = 0
	for key, err := range cache.MatchKeys(ctx, everything) {
		backend.Must(t, err)
		if head, _, _ := strings.Cut(want[n], "="); key.String() != head {
			t.Errorf("MatchKeys: %.300q, want %.300q", key, head)
		}
		n++
	}
	number("MatchKeys", n, nil)
	n, err = cache.Count(ctx, everything)
	number("Count", n, err)
	n, err = cache.TouchMatch(ctx, 2*time.Hour, everything)
	number("TouchMatch", n, err)
	n, err = cache.TouchEach(ctx, 3*time.Hour, all(keys...), nil)
	number("TouchEach", n, err)
	each("Touch, and TTL", func(record wildkey.Record, _ []byte) error {
		left, err := cache.TTL(ctx, record.Key)
		if err != nil || left <= 2*time.Hour || left > 3*time.Hour {
			return fmt.Errorf("%v after TouchEach, %v", left, err)
		}
		n, err := cache.Touch(ctx, wildkey.NoExpiry, record.Key)
		return errors.Join(err, outcomeOf(n == 1))
	})
	for entry, err := range cache.Match(ctx, everything, wildkey.WithTTL()) {
		if err != nil || entry.TTL != wildkey.NoExpiry {
			t.Errorf("Match after Touch: %.300q has %v, %v", entry.Key, entry.TTL, err)
		}
	}
	b.CheckInvariant(t)

	for shard := range cache.Layout().Shards() {
		b.Do(t, "DEL", cache.Layout().Index(shard))
	}
	n, err = admin.Reindex(ctx, b.Client, cache.Layout())
	number("Reindex", n, err)
	wantAll("Reindex")
	options.Namespace += "\x00"
	other := b.Cache(t, options)
	n, err = admin.Move(ctx, cache, other)
	number("Move", n, err)
	n, err = admin.Move(ctx, other, cache)
	number("Move, back", n, err)
	wantAll("Move")
	if n, err := cache.Sweep(ctx); err != nil || n > 0 {
		t.Errorf("Sweep: %d, %v", n, err)
	}

	each("Take, then a Writer", func(record wildkey.Record, _ []byte) error {
		value, err := cache.Take(ctx, record.Key)
		return errors.Join(err, outcomeOf(bytes.Equal(value, record.Value)))
	})
	w := writer.New(cache, writer.Options{OnError: func(f writer.Failure) { t.Error(f.Err) }})
	for _, record := range records {
		backend.Must(t, w.Put(ctx, record))
	}
	backend.Must(t, w.Flush(ctx))
	wantAll("a Writer's puts")
	third := len(keys) / 3
	for _, key := range keys[:third] {
		backend.Must(t, w.Delete(ctx, key))
	}
	backend.Must(t, w.Close(ctx))
	n, err = cache.DeleteEach(ctx, all(keys[:2*third]...), nil)
	if n != third || err != nil {
		t.Errorf("DeleteEach after a Writer's deletes: %d, %v, want %d", n, err, third)
	}
	for _, key := range keys[2*third : len(keys)-1] { // as if evicted: the entries stay
		name, err := cache.Layout().Record(key)
		backend.Must(t, err)
		b.Do(t, "DEL", name)
	}
	n, err = cache.Sweep(ctx)
	number("Sweep of all but one that are left", n+2*third+1, err)
	n, err = cache.DeleteMatch(ctx, everything)
	if n != 1 || err != nil {
		t.Errorf("DeleteMatch of the last: %d, %v", n, err)
	}
	if left := b.Do(t, "KEYS", "*").([]any); len(left) > 0 {
		t.Errorf("left after all is deleted: %.300q", left)
	}
}

// all yields the items, without an error.
func all[T any](items ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

func outcomeOf(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("the outcome is another")
}
