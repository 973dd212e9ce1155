package wildkey_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

func TestLayoutNames(t *testing.T) {
	for _, row := range []struct {
		namespace                string
		shards, segments         int
		key                      wildkey.Key
		tag, index, record, glob string
	}{
		{"", 0, 0, wildkey.K("user", 42), "{cache}", "{cache}/keys", "{cache}:user:42", "{cache[#}]*"},
		{"app", 1, 1, wildkey.K("user", 42), "{app}", "{app}/keys", "{app}:user:42", "{app[#}]*"},
		{"app", 1, 2, wildkey.K("user", 42), "{app}", "{app}/keys", "{app}:user:42", "{app[#}]*"},
		{"app", 48, 1, wildkey.K("user", 42), "{app#41/48/1}", "{app#41/48/1}/keys", "{app#41/48/1}:user:42", "{app[#}]*"},
		{"app", 48, 2, wildkey.K("user", 42), "{app#22/48/2}", "{app#22/48/2}/keys", "{app#22/48/2}:user:42", "{app[#}]*"},
		{"a#}b c", 1, 1, wildkey.K("é"), "{a%23%7Db%20c}", "{a%23%7Db%20c}/keys", "{a%23%7Db%20c}:%C3%A9", "{a%23%7Db%20c[#}]*"},
	} {
		layout, err := wildkey.NewLayout(row.namespace, row.shards, row.segments)
		backend.Must(t, err)
		shard := layout.Shard(row.key)
		record, err := layout.Record(row.key)
		backend.Must(t, err)
		want := []string{row.tag, row.tag + ":", row.index, row.record, row.glob}
		got := []string{layout.Tag(shard), layout.Prefix(shard), layout.Index(shard), record, layout.Glob()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got)\n%s", row, diff)
		}
		if key, err := layout.Key(record); key.String() != row.key.String() || err != nil {
			t.Errorf("Key(%s): %s, %v", record, key, err)
		}
		if layout.Shards() != max(row.shards, 1) || layout.ShardSegments() != max(row.segments, 1) {
			t.Errorf("%+v: %d shards by %d segments", row, layout.Shards(), layout.ShardSegments())
		}
	}
}

// TestLayoutOfOtherNames: no name but that of a record is taken for one.
func TestLayoutOfOtherNames(t *testing.T) {
	one, err := wildkey.NewLayout("app", 1, 1)
	backend.Must(t, err)
	several, err := wildkey.NewLayout("app", 48, 1)
	backend.Must(t, err)
	for _, name := range []string{
		"", "user", "{app}", "{app}:", "{app}/keys", "{app}user", "{app}::user", "{app}:user:", "{app}:a b", "{app}:%61",
		"{apple}:user", "{ap}:user", "app:user", "{{app}}:user", "{app#41/48/1}:user",
	} {
		if key, err := one.Key(name); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("%q: %s, %v", name, key, err)
		}
	}
	for _, name := range []string{
		"{app}:user", "{app#40/48/1}:user", "{app#41/48/2}:user", "{app#41/47/1}:user", "{app#41/48/1}/keys", "{app#41/48/1}:",
	} {
		if key, err := several.Key(name); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("of 48 shards, %q: %s, %v", name, key, err)
		}
	}
	if _, err := one.Record(wildkey.K("a", "")); !errors.Is(err, wildkey.ErrInvalidKey) {
		t.Errorf("Record of an invalid key: %v", err)
	}
}

// TestLayoutGlobs has a server match them, as SCAN does.
func TestLayoutGlobs(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		var want, indexes []string
		for _, options := range []wildkey.Options{
			{Namespace: "app"}, {Namespace: "app", Shards: 7}, {Namespace: "apple"}, {Namespace: "ap"}, {Namespace: "a*p"}, {Namespace: "app#0/7/1"},
		} {
			cache := b.Cache(t, options)
			for n := range 5 {
				key := wildkey.K(n)
				backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
				record, err := cache.Layout().Record(key)
				backend.Must(t, err)
				index := cache.Layout().Index(cache.Layout().Shard(key))
				indexes = append(indexes, index)
				if options.Namespace == "app" {
					want = append(want, record, index)
				}
			}
		}
		matches := func(glob string) []string {
			names := b.Client.Keys(ctx, glob).Val()
			slices.Sort(names)
			return names
		}
		slices.Sort(want)
		if diff := cmp.Diff(slices.Compact(want), matches(b.Cache(t, wildkey.Options{Namespace: "app", Shards: 3}).Layout().Glob())); diff != "" {
			t.Errorf("Glob (-want +got)\n%s", diff)
		}
		slices.Sort(indexes)
		if diff := cmp.Diff(slices.Compact(indexes), matches(wildkey.IndexGlob)); diff != "" {
			t.Errorf("IndexGlob (-want +got)\n%s", diff)
		}
	})
}

func TestLayoutErrors(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		for _, row := range []struct {
			shards, segments int
			want             string
		}{
			{-1, 1, "Shards is -1"}, {16_385, 1, "Shards is 16385"}, {2, -1, "ShardSegments is -1"},
		} {
			if _, err := wildkey.NewLayout("app", row.shards, row.segments); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("NewLayout with %d, %d: %v", row.shards, row.segments, err)
			}
			_, err := wildkey.New(b.Client, wildkey.Options{Shards: row.shards, ShardSegments: row.segments})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("New with %d, %d: %v", row.shards, row.segments, err)
			}
		}
	})
}

// TestParseTag reads back the tag of every shard of some Layouts.
func TestParseTag(t *testing.T) {
	for _, want := range []wildkey.Options{
		{Namespace: "app", Shards: 1, ShardSegments: 1},
		{Namespace: "app", Shards: 2, ShardSegments: 1},
		{Namespace: "Ann Ó#1/2/3}", Shards: 48, ShardSegments: 2},
		{Namespace: "{}", Shards: 16_384, ShardSegments: 4096},
	} {
		layout, err := wildkey.NewLayout(want.Namespace, want.Shards, want.ShardSegments)
		if err != nil {
			t.Fatal(err)
		}
		for shard := range want.Shards {
			got, number, ok := wildkey.ParseTag(layout.Tag(shard))
			if got != want || number != shard || !ok {
				t.Fatalf("%s: %+v, shard %d, %v; want %+v, shard %d", layout.Tag(shard), got, number, ok, want, shard)
			}
		}
	}
}

func TestParseTagOfNoLayout(t *testing.T) {
	for _, tag := range []string{
		"", "app", "{}", "{app", "app}", "{{app}}", "{app}}", "{app}/keys", "{a b}", "{%61}", "{%4}", "{a#b}",
		"{app#}", "{app#0}", "{app#0/2}", "{app#0/2/}", "{app#0/2/1/}", "{app#0/2/1/1}", "{app#0/1/1}", "{app#0/0/1}",
		"{app#2/2/1}", "{app#-1/2/1}", "{app#0/2/0}", "{app#00/2/1}", "{app#+0/2/1}", "{app# 0/2/1}", "{app#0/16385/1}",
		"{app#0/2/99999999999999999999}", "{#0/2/1}",
	} {
		if options, shard, ok := wildkey.ParseTag(tag); ok {
			t.Errorf("%q: %+v, shard %d", tag, options, shard)
		}
	}
}
