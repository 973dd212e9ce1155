package wildkey_test

import (
	"testing"

	"github.com/wildkey/wildkey"
)

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
