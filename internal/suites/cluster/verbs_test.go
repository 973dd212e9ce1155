package cluster

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
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

// testVerbs holds every exported method of a Cache, and a Writer, against a map.
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
		{"Load", v.load}, {"Put", v.put}, {"PutEach", v.putEach}, {"Get", v.get}, {"GetMany", v.getMany},
		{"Match", v.match}, {"MatchKeys", v.matchKeys}, {"All", v.hold}, {"Count", v.hold}, {"Page", v.page},
		{"Touch", v.touch}, {"Delete", v.delete}, {"Take", v.take}, {"TouchMatch", v.touchMatch},
		{"DeleteMatch", v.deleteMatch}, {"Reindex", v.reindex}, {"Sweep", v.sweep}, {"Writer", v.writer},
		{"MoveTo", v.moveTo},
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

// hold holds All and Count of every kind of pattern against the map.
func (v *verbs) hold(t *testing.T) {
	t.Helper()
	for _, text := range patternsOfVerbs {
		pattern := wildkey.MustParsePattern(text)
		matching := v.matching(t, pattern)
		found, err := v.cache.Collect(ctx, pattern)
		backend.Must(t, err)
		if diff := cmp.Diff(matching, backend.Entries(found)); diff != "" {
			t.Errorf("All %s (-want +got)\n%s", text, diff)
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

func (v *verbs) name(key wildkey.Key) string { return backend.Tag(key, v.options) + ":" + key.String() }

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
				t.Errorf("%s does not lie in %s", key, backend.Tag(key, v.options))
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
	n, err := v.cache.PutEach(ctx, slices.Values(records), func(record wildkey.Record, err error) {
		if fails := record.If == wildkey.Present(); errors.Is(err, wildkey.ErrCondition) != fails || !fails && err != nil {
			t.Errorf("PutEach of %s: %v", record.Key, err)
		}
	})
	if n != 40 || !errors.Is(err, wildkey.ErrCondition) {
		t.Errorf("PutEach: %d, %v", n, err)
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

func (v *verbs) page(t *testing.T) {
	for _, text := range patternsOfVerbs {
		pattern, met := wildkey.MustParsePattern(text), []wildkey.Entry{}
		for cursor, more := "", true; more; more = cursor != "" {
			page, err := v.cache.Page(ctx, pattern, cursor, 3)
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
		if left := v.client.PTTL(ctx, v.name(key)).Val(); left < least {
			t.Errorf("%s has %v left, want at least %v", key, left, least)
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

// reindex deletes the indexes of every shard by hand.
func (v *verbs) reindex(t *testing.T) {
	for i := range max(v.options.Shards, 1) {
		tag := "{test}"
		if v.options.Shards > 1 {
			tag = fmt.Sprintf("{test#%d}", i)
		}
		v.do(t, "DEL", tag+"/keys", tag+"/expiry")
	}
	if found, err := v.cache.Collect(ctx, wildkey.MustParsePattern("**")); len(found) > 0 || err != nil {
		t.Errorf("All without indexes: %d, %v", len(found), err)
	}
	if n, err := v.cache.Reindex(ctx); n != len(v.want) || err != nil {
		t.Errorf("Reindex: %d, %v, want %d", n, err, len(v.want))
	}
}

// sweep is of one record deleted by hand, and of expired entries in two places.
func (v *verbs) sweep(t *testing.T) {
	byHand := wildkey.K("team:", 3, 1)
	v.do(t, "DEL", v.name(byHand))
	delete(v.want, byHand.String())
	tags := []string{backend.Tag(wildkey.K(1), v.options), backend.Tag(wildkey.K(2), v.options)}
	for _, tag := range tags {
		v.do(t, "ZADD", tag+"/keys", 0, "old"+tag[1:len(tag)-1])
		v.do(t, "ZADD", tag+"/expiry", 1, "old"+tag[1:len(tag)-1])
	}
	want := wildkey.SweepStats{Purged: len(slices.Compact(tags)), Dropped: 1}
	if stats, err := v.cache.Sweep(ctx); stats != want || err != nil {
		t.Errorf("Sweep: %+v, %v, want %+v", stats, err, want)
	}
}

func (v *verbs) writer(t *testing.T) {
	w := wildkey.NewWriter(v.cache, wildkey.WriterOptions{})
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
	backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("written", "last"), "v")))
	v.want["written:last"] = "v"
	backend.Must(t, w.Close())
}

// moveTo goes on with the records in another namespace and number of shards.
func (v *verbs) moveTo(t *testing.T) {
	to, err := wildkey.New(v.client, wildkey.Options{Namespace: "moved", TTL: time.Hour, Shards: 5})
	backend.Must(t, err)
	if n, err := v.cache.MoveTo(ctx, to); n != len(v.want) || err != nil {
		t.Errorf("MoveTo: %d, %v, want %d", n, err, len(v.want))
	}
	if left, err := v.cache.Collect(ctx, wildkey.MustParsePattern("**")); len(left) > 0 || err != nil {
		t.Errorf("All of what was left: %d, %v", len(left), err)
	}
	v.cache = to
}
