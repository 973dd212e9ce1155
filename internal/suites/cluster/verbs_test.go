package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/writer"
)

// onShards runs a test with several numbers of shards, chosen by one and by two segments.
func onShards(t *testing.T, test func(t *testing.T, b *backend.Backend, options wildkey.Options)) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, shards := range []int{1, 2, 7, 48} {
			for _, segments := range []int{1, 2} {
				t.Run(fmt.Sprintf("%d by %d", shards, segments), func(t *testing.T) {
					b.Do(t, "FLUSHALL")
					test(t, b, wildkey.Options{Shards: shards, ShardSegments: segments})
					b.CheckInvariant(t)
				})
			}
		}
	})
}

// TestShardedVerbs holds every verb against a map.
func TestShardedVerbs(t *testing.T) {
	onShards(t, func(t *testing.T, b *backend.Backend, options wildkey.Options) { testVerbs(t, b.Client, options) })
}

// verbs is the namespace "test", what is in it, and a client of its server or cluster.
type verbs struct {
	client  redis.UniversalClient
	cache   *wildkey.Cache
	options wildkey.Options
	want    map[string]string
}

// testVerbs holds every exported method of a Cache, package writer and package admin
// against a map.
func testVerbs(t *testing.T, client redis.UniversalClient, options wildkey.Options) {
	options.PageLimit = 5
	v := &verbs{client, backend.Cache(t, client, options), options, map[string]string{}}
	unheld := map[string]bool{}
	for i := range reflect.TypeFor[*wildkey.Cache]().NumMethod() {
		unheld[reflect.TypeFor[*wildkey.Cache]().Method(i).Name] = true
	}
	for _, step := range []struct {
		verb string
		hold func(t *testing.T)
	}{
		{"Load", v.load}, {"Options", v.settings}, {"Layout", v.settings}, {"Put", v.put}, {"PutEach", v.putEach},
		{"Apply", v.apply}, {"Validate", v.validate}, {"Get", v.get}, {"GetMany", v.getMany}, {"Match", v.match},
		{"MatchKeys", v.matchKeys}, {"Collect", v.hold}, {"Count", v.hold}, {"Page", v.page}, {"List", v.list}, {"Estimate", v.estimate}, {"Touch", v.touch},
		{"TTL", v.touch}, {"GetTouch", v.getTouch}, {"TouchEach", v.touchEach}, {"Delete", v.delete},
		{"DeleteEach", v.deleteEach}, {"Take", v.take}, {"TouchMatch", v.touchMatch}, {"DeleteMatch", v.deleteMatch},
		{"OnShard", v.onShard}, {"admin.Reindex", v.reindex}, {"Sweep", v.sweep}, {"writer", v.writer}, {"admin.Move", v.move},
	} {
		t.Run(step.verb, func(t *testing.T) {
			step.hold(t)
			v.hold(t)
		})
		delete(unheld, step.verb)
	}
	if len(unheld) > 0 {
		t.Errorf("nothing holds %v", slices.Sorted(maps.Keys(unheld)))
	}
	backend.NoneRunning(t, "wildkey/wildkey.", "wildkey/writer.")
}

// keys returns all that is in the namespace.
func (v *verbs) keys(t *testing.T) (keys []wildkey.Key) {
	t.Helper()
	for _, encoded := range slices.Sorted(maps.Keys(v.want)) {
		key, err := wildkey.ParseKey(encoded)
		backend.Must(t, err)
		keys = append(keys, key)
	}
	return keys
}

// matching returns what a pattern is to find, as entries has it.
func (v *verbs) matching(t *testing.T, pattern wildkey.Pattern) []string {
	t.Helper()
	matching := []string{}
	for _, key := range v.keys(t) {
		if pattern.Matches(key) {
			matching = append(matching, key.String()+"="+v.want[key.String()])
		}
	}
	return matching
}

var patternsOfVerbs = []string{
	"**", "*", "7:**", "7:session:**", "7:session:*", "1*:**", "*:session:*", "team%3A:**", "team%3A:7:*", "7",
}

// hold holds Collect and Count of every kind of pattern against the map.
func (v *verbs) hold(t *testing.T) {
	t.Helper()
	for _, text := range patternsOfVerbs {
		pattern := wildkey.MustParsePattern(text)
		matching := v.matching(t, pattern)
		found, err := v.cache.Collect(ctx, pattern)
		backend.Must(t, err)
		if diff := cmp.Diff(matching, backend.Entries(found)); diff != "" {
			t.Errorf("Collect %s (-want +got)\n%s", text, diff)
		}
		if n, err := v.cache.Count(ctx, pattern); n != len(matching) || err != nil {
			t.Errorf("Count %s: %d, %v, want %d", text, n, err, len(matching))
		}
	}
}

// do runs a command by hand on what lies at a key of the namespace.
func (v *verbs) do(t *testing.T, args ...any) any {
	t.Helper()
	reply, err := v.client.Do(ctx, args...).Result()
	backend.Must(t, err)
	return reply
}

func (v *verbs) name(key wildkey.Key) string { return v.tag(key) + ":" + key.String() }

// tag is worked out here, not asked for, so that a mistake of Layout shows.
func (v *verbs) tag(key wildkey.Key) string {
	if v.options.Shards == 1 {
		return "{test}"
	}
	shard := key.Shard(v.options.Shards, v.options.ShardSegments)
	return fmt.Sprintf("{test#%d/%d/%d}", shard, v.options.Shards, v.options.ShardSegments)
}

func (v *verbs) settings(t *testing.T) {
	options, layout := v.cache.Options(), v.cache.Layout()
	if options.Shards != v.options.Shards || layout.Shards() != v.options.Shards || options.CallRecords != 250 ||
		options.ShardSegments != v.options.ShardSegments || layout.ShardSegments() != v.options.ShardSegments {
		t.Errorf("%+v, and a Layout of %d shards by %d segments", options, layout.Shards(), layout.ShardSegments())
	}
	for user := range 20 {
		key := wildkey.K(user, "session", 1)
		if name, err := layout.Record(key); name != v.name(key) || err != nil {
			t.Errorf("%s is %s, %v, want %s", key, name, err, v.name(key))
		}
	}
}

func (v *verbs) load(t *testing.T) {
	backend.Must(t, v.cache.Load(ctx))
	for _, script := range wildkey.Scripts() {
		if exists, err := v.client.ScriptExists(ctx, script.SHA1).Result(); err != nil || !exists[0] {
			t.Errorf("%s.lua after Load: %v, %v", script.Name, exists, err)
		}
	}
}

func (v *verbs) put(t *testing.T) {
	for user := range 12 {
		for _, key := range append([]wildkey.Key{wildkey.K(user)}, v.below(user)...) {
			backend.Must(t, v.cache.Put(ctx, backend.Rec(key, key.String())))
			v.want[key.String()] = key.String()
			if n := v.do(t, "EXISTS", v.name(key)); n != int64(1) {
				t.Errorf("%s does not lie in %s", key, v.tag(key))
			}
		}
	}
	v.hold(t)

	// What has two segments in common lies together.
	together := []wildkey.Record{backend.Rec(wildkey.K(7, "session", 0), "new"), backend.Rec(wildkey.K(7, "session", 1), "new")}
	backend.Must(t, v.cache.Put(ctx, together...))
	v.want["7:session:0"], v.want["7:session:1"] = "new", "new"
	v.hold(t)
	there, gone := wildkey.K(5), wildkey.K(5, "none")
	for _, row := range []struct {
		key       wildkey.Key
		condition wildkey.Condition
		holds     bool
	}{
		{there, wildkey.Absent(), false}, {gone, wildkey.Present(), false}, {gone, wildkey.Equal(nil), false},
		{there, wildkey.Equal([]byte("6")), false}, {there, wildkey.Equal([]byte("5")), true},
		{there, wildkey.Present(), true}, {wildkey.K(5, "session", 9), wildkey.Absent(), true},
	} {
		err := v.cache.Put(ctx, wildkey.Record{Key: row.key, Value: []byte("5"), If: row.condition})
		if row.holds && err != nil || !row.holds && !errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Put %s if %+v: %v", row.key, row.condition, err)
		}
		if row.holds {
			v.want[row.key.String()] = "5"
		}
	}
}

// below returns the keys of a user that are put beneath the user's own.
func (v *verbs) below(user int) (keys []wildkey.Key) {
	for session := range 1 + user%4 {
		keys = append(keys, wildkey.K(user, "session", session), wildkey.K("team:", user, session))
	}
	return keys
}

func (v *verbs) putEach(t *testing.T) {
	var records []wildkey.Record
	for n := range 60 {
		record := backend.Rec(wildkey.K("each", n, "x"), "v")
		if n%3 == 0 {
			record.If = wildkey.Present()
		} else {
			v.want[record.Key.String()] = "v"
		}
		records = append(records, record)
	}
	n, err := v.cache.PutEach(ctx, backend.Source(records...), func(record wildkey.Record, err error) {
		if fails := record.If == wildkey.Present(); errors.Is(err, wildkey.ErrCondition) != fails || !fails && err != nil {
			t.Errorf("PutEach of %s: %v", record.Key, err)
		}
	})
	if n != 40 || !errors.Is(err, wildkey.ErrCondition) {
		t.Errorf("PutEach: %d, %v", n, err)
	}
}

// eachKeys are those that putEach has put and left out.
func eachKeys() (keys []wildkey.Key) {
	for n := range 60 {
		keys = append(keys, wildkey.K("each", n, "x"))
	}
	return keys
}

func (v *verbs) touchEach(t *testing.T) {
	if n, err := v.cache.TouchEach(ctx, 7*time.Hour, backend.Source(eachKeys()...), nil); n != 40 || err != nil {
		t.Errorf("TouchEach: %d, %v", n, err)
	}
	v.holdLife(t, 6*time.Hour, wildkey.K("each", 1, "x"), wildkey.K("each", 59, "x"))
}

func (v *verbs) deleteEach(t *testing.T) {
	if n, err := v.cache.DeleteEach(ctx, backend.Source(eachKeys()[:30]...), nil); n != 20 || err != nil {
		t.Errorf("DeleteEach: %d, %v", n, err)
	}
	for _, key := range eachKeys()[:30] {
		delete(v.want, key.String())
	}
}

// apply does one thing of each kind, or nothing.
func (v *verbs) apply(t *testing.T) {
	put, kept := wildkey.K(9, "session", "new"), wildkey.K(9, "session", 0)
	ops := []wildkey.Op{
		wildkey.OpPut(backend.Rec(put, "put")),
		wildkey.OpPut(wildkey.Record{Key: kept, Value: []byte("kept"), TTL: wildkey.KeepTTL}),
		wildkey.OpDelete(wildkey.K(9, "session", 1)),
		wildkey.OpTouch(wildkey.K(9, "session", "none"), time.Hour),
	}
	failing := append(slices.Clone(ops), wildkey.OpCheck(wildkey.K(9, "session", "other")).If(wildkey.Present()))
	failed := new(wildkey.ConditionError)
	if n, err := v.cache.Apply(ctx, failing...); n != 0 || !errors.As(err, &failed) || failed.Index != 4 {
		t.Errorf("Apply under a condition that does not hold: %d, %v", n, err)
	}
	v.hold(t)
	if n, err := v.cache.Apply(ctx, ops...); n != 3 || err != nil {
		t.Errorf("Apply: %d, %v", n, err)
	}
	v.want[put.String()], v.want[kept.String()] = "put", "kept"
	delete(v.want, "9:session:1")
}

// validate refuses before anything is sent: here two shards, wherever there are two.
func (v *verbs) validate(t *testing.T) {
	a, b := wildkey.OpDelete(wildkey.K(1)), wildkey.OpDelete(wildkey.K(2))
	apart := v.tag(a.Key()) != v.tag(b.Key())
	if err := v.cache.Validate(a, b); errors.Is(err, wildkey.ErrCrossShard) != apart || !apart && err != nil {
		t.Errorf("Validate of two that lie apart, %t: %v", apart, err)
	}
	if _, err := v.cache.Apply(ctx, wildkey.OpPut(backend.Rec(a.Key(), "1")), wildkey.OpTouch(b.Key(), time.Hour)); errors.Is(err, wildkey.ErrCrossShard) != apart {
		t.Errorf("Apply to two that lie apart, %t: %v", apart, err)
	}
}

func (v *verbs) getTouch(t *testing.T) {
	if value, err := v.cache.GetTouch(ctx, wildkey.NoExpiry, wildkey.K(6)); string(value) != "6" || err != nil {
		t.Errorf("GetTouch: %q, %v", value, err)
	}
	if ttl, err := v.cache.TTL(ctx, wildkey.K(6)); ttl != wildkey.NoExpiry || err != nil {
		t.Errorf("TTL: %v, %v", ttl, err)
	}
	if value, err := v.cache.GetTouch(ctx, time.Hour, wildkey.K("none")); !errors.Is(err, wildkey.ErrNotFound) {
		t.Errorf("GetTouch of nothing: %q, %v", value, err)
	}
}

func (v *verbs) get(t *testing.T) {
	for _, key := range v.keys(t) {
		if value, err := v.cache.Get(ctx, key); string(value) != v.want[key.String()] || err != nil {
			t.Errorf("Get %s: %q, %v", key, value, err)
		}
	}
	if value, err := v.cache.Get(ctx, wildkey.K("none")); !errors.Is(err, wildkey.ErrNotFound) {
		t.Errorf("Get of nothing: %q, %v", value, err)
	}
}

func (v *verbs) getMany(t *testing.T) {
	keys := v.keys(t)
	keys = append(keys, wildkey.K("none"), keys[0])
	values, err := v.cache.GetMany(ctx, keys...)
	backend.Must(t, err)
	for i, key := range keys {
		if string(values[i]) != v.want[key.String()] || (values[i] == nil) != (key[0] == "none") {
			t.Errorf("GetMany: %q for %s", values[i], key)
		}
	}
}

func (v *verbs) match(t *testing.T) {
	pattern := wildkey.MustParsePattern("*:session:*")
	matching, met := v.matching(t, pattern), []wildkey.Entry{}
	for entry, err := range v.cache.Match(ctx, pattern) {
		backend.Must(t, err)
		if met = append(met, entry); len(met) == len(matching)-1 {
			break
		}
	}
	if diff := cmp.Diff(matching[:len(matching)-1], backend.Entries(met)); diff != "" {
		t.Errorf("all but the last (-want +got)\n%s", diff)
	}
}

func (v *verbs) matchKeys(t *testing.T) {
	met := []string{}
	for key, err := range v.cache.MatchKeys(ctx, wildkey.MustParsePattern("**")) {
		backend.Must(t, err)
		met = append(met, key.String())
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(v.want)), met); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// list expects each record at the depth of the pattern, and what has others beneath it.
func (v *verbs) list(t *testing.T) {
	for _, text := range []string{"*", "7", "7:*", "*:session", "*:*", "1*", "1<3", "team%3A:*", "each:*:x", "none:*"} {
		pattern, want := wildkey.MustParsePattern(text), map[string]bool{}
		depth := strings.Count(text, ":") + 1
		for _, key := range v.keys(t) {
			if len(key) >= depth && pattern.Matches(key[:depth]) {
				want[fmt.Sprint(key[:depth], len(key) > depth)] = true
			}
		}
		got := map[string]bool{}
		last := ""
		for item, err := range v.cache.List(ctx, pattern) {
			backend.Must(t, err)
			place := item.Key.String()
			if item.Beneath {
				place += ":"
			}
			if place <= last {
				t.Errorf("List %s: %s follows %s", text, place, last)
			}
			last, got[fmt.Sprint(item.Key, item.Beneath)] = place, true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("List %s (-want +got)\n%s", text, diff)
		}
	}
}

// estimate finds no entry that is stale here, and may count one more in each shard.
func (v *verbs) estimate(t *testing.T) {
	for _, text := range []string{"**", "7:**", "7:session:**", "none:**"} {
		pattern := wildkey.MustParsePattern(text)
		least := len(v.matching(t, pattern))
		shards := len(v.cache.Layout().ShardsOf(pattern))
		if n, err := v.cache.Estimate(ctx, pattern); n < least || n > least+shards || err != nil {
			t.Errorf("Estimate %s: %d, %v, want at least %d", text, n, err, least)
		}
	}
}

func (v *verbs) page(t *testing.T) {
	for _, text := range patternsOfVerbs {
		pattern, met := wildkey.MustParsePattern(text), []wildkey.Entry{}
		for cursor, more := "", true; more; more = cursor != "" {
			page, err := v.cache.Page(ctx, pattern, wildkey.PageOptions{Cursor: cursor, Limit: 3})
			backend.Must(t, err)
			if len(page.Entries) > 3 {
				t.Errorf("Page %s has %d entries", text, len(page.Entries))
			}
			met, cursor = append(met, page.Entries...), page.Cursor
		}
		if diff := cmp.Diff(v.matching(t, pattern), backend.Entries(met)); diff != "" {
			t.Errorf("Page %s (-want +got)\n%s", text, diff)
		}
	}
}

// sessions are two records that lie together, by one segment and by two.
var sessions = []wildkey.Key{wildkey.K(7, "session", 0), wildkey.K(7, "session", 1)}

func (v *verbs) touch(t *testing.T) {
	if n, err := v.cache.Touch(ctx, 5*time.Hour, sessions...); n != 2 || err != nil {
		t.Errorf("Touch: %d, %v", n, err)
	}
	v.holdLife(t, 4*time.Hour, sessions...)
}

// holdLife holds the keys to having more than so much time left.
func (v *verbs) holdLife(t *testing.T, least time.Duration, keys ...wildkey.Key) {
	t.Helper()
	for _, key := range keys {
		if left, err := v.cache.TTL(ctx, key); left < least || err != nil {
			t.Errorf("%s has %v left, %v, want at least %v", key, left, err, least)
		}
	}
}

func (v *verbs) delete(t *testing.T) {
	if n, err := v.cache.Delete(ctx, append(sessions, wildkey.K(7, "session", "none"))...); n != 2 || err != nil {
		t.Errorf("Delete: %d, %v", n, err)
	}
	delete(v.want, "7:session:0")
	delete(v.want, "7:session:1")
}

func (v *verbs) take(t *testing.T) {
	if value, err := v.cache.Take(ctx, wildkey.K(8)); string(value) != "8" || err != nil {
		t.Errorf("Take: %q, %v", value, err)
	}
	if value, err := v.cache.Take(ctx, wildkey.K(8)); !errors.Is(err, wildkey.ErrNotFound) {
		t.Errorf("Take once more: %q, %v", value, err)
	}
	delete(v.want, "8")
}

func (v *verbs) touchMatch(t *testing.T) {
	everything := wildkey.MustParsePattern("**")
	if n, err := v.cache.TouchMatch(ctx, 3*time.Hour, everything); n != len(v.want) || err != nil {
		t.Errorf("TouchMatch: %d, %v, want %d", n, err, len(v.want))
	}
	v.holdLife(t, 2*time.Hour, v.keys(t)...)
}

func (v *verbs) deleteMatch(t *testing.T) {
	pattern := wildkey.MustParsePattern("*:session:*")
	matching := len(v.matching(t, pattern))
	if n, err := v.cache.DeleteMatch(ctx, pattern); n != matching || err != nil {
		t.Errorf("DeleteMatch: %d, %v, want %d", n, err, matching)
	}
	maps.DeleteFunc(v.want, func(encoded, _ string) bool { return strings.Contains(encoded, ":session:") })
}

// reindex deletes the index of every shard by hand.
func (v *verbs) reindex(t *testing.T) {
	for shard := range v.options.Shards {
		v.do(t, "DEL", v.cache.Layout().Index(shard))
	}
	if found, err := v.cache.Collect(ctx, wildkey.MustParsePattern("**")); len(found) > 0 || err != nil {
		t.Errorf("Collect without indexes: %d, %v", len(found), err)
	}
	n, err := admin.Reindex(ctx, v.client, v.cache.Layout())
	if ring, ok := v.client.(*redis.Ring); ok {
		if n != 0 || err == nil || !strings.Contains(err.Error(), "a client of each server") {
			t.Errorf("Reindex of a Ring: %d, %v", n, err)
		}
		var total atomic.Int64
		err = ring.ForEachShard(ctx, func(ctx context.Context, client *redis.Client) error {
			n, err := admin.Reindex(ctx, client, v.cache.Layout())
			total.Add(int64(n))
			return err
		})
		n = int(total.Load())
	}
	if n != len(v.want) || err != nil {
		t.Errorf("Reindex: %d, %v, want %d", n, err, len(v.want))
	}
}

func (v *verbs) onShard(t *testing.T) {
	total := 0
	for shard := range v.options.Shards {
		n, err := v.cache.OnShard(shard).Count(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		total += n
	}
	if total != len(v.want) {
		t.Errorf("the shards have %d records, want %d", total, len(v.want))
	}
}

// sweep is of one record deleted by hand, and of stale entries in two places.
func (v *verbs) sweep(t *testing.T) {
	byHand := wildkey.K("team:", 3, 1)
	v.do(t, "DEL", v.name(byHand))
	delete(v.want, byHand.String())
	v.do(t, "ZADD", v.tag(wildkey.K(1))+"/keys", 0, "old:1")
	v.do(t, "ZADD", v.tag(wildkey.K(2))+"/keys", 0, "old:2")
	if n, err := v.cache.Sweep(ctx); n != 3 || err != nil {
		t.Errorf("Sweep: %d, %v, want 3", n, err)
	}
	if n, err := v.cache.Sweep(ctx); n != 0 || err != nil {
		t.Errorf("Sweep again: %d, %v", n, err)
	}
}

func (v *verbs) writer(t *testing.T) {
	w := writer.New(v.cache, writer.Options{OnError: func(f writer.Failure) { t.Error(f.Err) }})
	for n := range 40 {
		key := wildkey.K("written", n)
		backend.Must(t, w.Put(ctx, backend.Rec(key, "v")))
		if v.want[key.String()] = "v"; n%4 == 0 {
			backend.Must(t, w.Delete(ctx, key))
			delete(v.want, key.String())
		}
	}
	backend.Must(t, w.Flush(ctx))
	v.hold(t)
	backend.Must(t, w.DeleteMatch(ctx, wildkey.MustParsePattern("written:1*")))
	maps.DeleteFunc(v.want, func(name, _ string) bool { return strings.HasPrefix(name, "written:1") })
	backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("written", "last"), "v")))
	v.want["written:last"] = "v"
	backend.Must(t, w.Close(ctx))
}

// move goes on with the records in other namespaces and numbers of shards.
func (v *verbs) move(t *testing.T) {
	for _, options := range []wildkey.Options{{Shards: 5}, {Shards: 12, ShardSegments: 2}, {Shards: 1}, {Shards: 3}} {
		options.Namespace, options.TTL = "moved", time.Hour
		to, err := wildkey.New(v.client, options)
		backend.Must(t, err)
		if n, err := admin.Move(ctx, v.cache, to); n != len(v.want) || err != nil {
			t.Errorf("Move to %d shards: %d, %v, want %d", options.Shards, n, err, len(v.want))
		}
		for shard := range v.cache.Layout().Shards() {
			if n := v.do(t, "EXISTS", v.cache.Layout().Index(shard)); n != int64(0) {
				t.Errorf("Move to %d shards has left %s", options.Shards, v.cache.Layout().Index(shard))
			}
		}
		v.cache = to
		v.hold(t)
	}
}
