// Package match holds pattern matching against a plain filter over all keys.
package match

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/draw"
)

var ctx = context.Background()

var matchCases = flag.Int("match-cases", 1_000, "how many random keyspaces with a pattern TestMatchIsAFilter tries")

// TestMatchIsAFilter draws keyspaces, in which some index entries are stale, and
// patterns. It expects of a walk that leaps what a plain filter over all keys finds.
func TestMatchIsAFilter(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		seed := uint64(time.Now().UnixNano())
		cases := *matchCases
		if b.Server != nil {
			cases /= 10 // a round trip costs more than the engine does
		}
		for n := range uint64(cases) {
			checkMatch(t, b, seed+n)
			if t.Failed() {
				t.Fatalf("reproduce with: go test -run 'FuzzMatch/seed' ./internal/suites/match, after f.Add(uint64(%d))", seed+n)
			}
		}
	})
}

// FuzzMatch is the same on seeds that the fuzzer chooses.
func FuzzMatch(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		backend.OnEngine(t, func(t *testing.T, b *backend.Backend) { checkMatch(t, b, seed) })
	})
}

// matches is the plain filter.
func matches(pattern wildkey.Pattern, encoded string) bool {
	terms, segments := strings.Split(pattern.String(), ":"), strings.Split(encoded, ":")
	for i, term := range terms {
		if term == "**" {
			return true
		}
		if i == len(segments) {
			return false
		}
		if !fits(term, segments[i]) {
			return false
		}
	}
	return len(segments) == len(terms)
}

// fits holds a term against an encoded segment. What a term starts or ends with, the
// segment itself does, and not only its encoding.
func fits(term, encoded string) bool {
	if from, to, isRange := strings.Cut(term, "<"); isRange {
		return encoded >= from && (to == "" || encoded < to)
	}
	decode := func(text string) string {
		decoded, err := url.PathUnescape(text)
		if err != nil {
			panic(err)
		}
		return decoded
	}
	prefix, suffix, isAffix := strings.Cut(term, "*")
	if !isAffix {
		return encoded == term
	}
	prefix, suffix, segment := decode(prefix), decode(suffix), decode(encoded)
	return len(segment) >= len(prefix)+len(suffix) && strings.HasPrefix(segment, prefix) && strings.HasSuffix(segment, suffix)
}

// space is a random keyspace, and a pattern to find some of it.
type space struct {
	*rand.Rand
	t       *testing.T
	b       *backend.Backend
	cache   *wildkey.Cache
	layout  wildkey.Layout
	match   string   // the digest of match.lua
	few     []string // of which keys are made
	above   wildkey.Key
	pattern wildkey.Pattern
	live    map[string]wildkey.Record // by encoded key
}

// checkMatch draws a keyspace, a pattern, and bounds so small that cursors fall
// in odd places, from the seed.
func checkMatch(t *testing.T, b *backend.Backend, seed uint64) {
	t.Helper()
	b.Do(t, "FLUSHALL")
	if b.Engine != nil {
		b.Engine.SetRandomSeed(seed)
		b.Engine.ResetTrace() // it would grow with each case
	}
	s := &space{Rand: rand.New(rand.NewPCG(seed, 0)), t: t, b: b, live: map[string]wildkey.Record{}}
	s.few = draw.Few(s.Rand)
	switch s.IntN(40) {
	case 0, 1: // a walk does without string.find
		s.above = slices.Repeat(wildkey.Key{"a"}, 100)
	case 2: // an entry counts for several
		s.above = wildkey.Key{strings.Repeat("a", 1+s.IntN(1500))}
	}
	s.cache = b.Cache(t, wildkey.Options{
		PageLimit: 1 + s.IntN(9), PageReads: 1 + s.IntN(9), CallBytes: 1 + s.IntN(60), CallRecords: 60,
		Shards: []int{1, 1, 1, 2, 3, 7}[s.IntN(6)], ShardSegments: 1 + s.IntN(3),
	})
	s.layout, s.match = s.cache.Layout(), corpus.Load(t, b.Client, "match")
	s.pattern = draw.Pattern(t, s.Rand, s.segment, s.above)
	for range s.IntN(40) {
		s.put()
	}
	s.vanishSome()
	for _, want := range []string{"values", "records", "keys", "count", "index"} {
		s.checkWant(want)
	}
	s.checkList()
	s.checkCursor()
	s.checkBetweenWrites()
	s.checkVerbs()
	s.vanishSome()
	s.checkDelete()
}

func (s *space) segment() string { return s.few[s.IntN(len(s.few))] }

func (s *space) put() (encoded string) {
	s.t.Helper()
	key := slices.Clone(s.above)
	for range 1 + s.IntN(5) {
		key = append(key, s.segment())
	}
	record := backend.Rec(key, strings.Repeat("v", s.IntN(12)))
	record.TTL = []time.Duration{time.Hour, wildkey.NoExpiry}[s.IntN(2)]
	backend.Must(s.t, s.cache.Put(ctx, record))
	encoded = key.String()
	if got := s.pattern.Matches(key); got != matches(s.pattern, encoded) {
		s.t.Errorf("%s: Matches(%s) is %v", s.pattern, encoded, got)
	}
	s.live[encoded] = record
	return encoded
}

// vanish has a record go without a word to the index, as one does that is evicted
// or that expires.
func (s *space) vanish(encoded string) {
	s.t.Helper()
	name, err := s.layout.Record(s.live[encoded].Key)
	backend.Must(s.t, err)
	if s.b.Engine != nil && s.IntN(2) == 0 {
		s.b.Do(s.t, "PEXPIRE", name, 1)
		s.b.Engine.Advance(2 * time.Millisecond)
	} else {
		s.b.Do(s.t, "DEL", name)
	}
	delete(s.live, encoded)
}

func (s *space) vanishSome() {
	s.t.Helper()
	share := []float64{0, 0.1, 0.5, 0.9}[s.IntN(4)]
	for _, encoded := range slices.Sorted(maps.Keys(s.live)) {
		if s.Float64() < share {
			s.vanish(encoded)
		}
	}
}

// matching returns the keys that the pattern matches: of the live records of a
// shard, or of the entries of its index. The shard -1 stands for all.
func (s *space) matching(shard int) (live, entries []string) {
	s.t.Helper()
	for n := range s.layout.Shards() {
		if shard != -1 && shard != n {
			continue
		}
		members, err := s.b.Client.ZRange(ctx, s.layout.Index(n), 0, -1).Result()
		backend.Must(s.t, err)
		for _, encoded := range members {
			if !matches(s.pattern, encoded) {
				continue
			}
			entries = append(entries, encoded)
			if _, ok := s.live[encoded]; ok {
				live = append(live, encoded)
			}
		}
	}
	slices.Sort(live)
	slices.Sort(entries)
	for encoded, record := range s.live {
		inShard := shard == -1 || shard == s.layout.Shard(record.Key)
		if _, found := slices.BinarySearch(live, encoded); inShard && !found && matches(s.pattern, encoded) {
			s.t.Errorf("%s is not in the index", encoded)
		}
	}
	return live, entries
}

// page is a reply of match.lua.
type page struct {
	cursor  string
	stale   []string
	entries []wildkey.Entry
	items   []string // of a list
	count   int
}

// ask calls match.lua by random bounds and holds the page against them.
func (s *space) ask(shard int, want, cursor string) (p page, err error) {
	s.t.Helper()
	limit, reads, bytes := 1+s.IntN(9), 1+s.IntN(9), []int{1 + s.IntN(60), 1 << 20}[s.IntN(2)]
	args := []any{want, cursor, limit, reads, bytes}
	for _, term := range strings.Split(s.pattern.String(), ":") {
		switch {
		case term == "*" || term == "**":
			args = append(args, term)
		case strings.Contains(term, "*"):
			args = append(args, "^"+term)
		case strings.Contains(term, "<"):
			args = append(args, "["+term)
		default:
			args = append(args, "="+term)
		}
	}
	reply, err := s.b.Client.EvalSha(ctx, s.match, []string{s.layout.Index(shard)}, args...).Slice()
	if err != nil {
		return p, err
	}
	p.cursor = reply[0].(string)
	read := int(reply[1].(int64))
	used, weight, last := 0, 0, 0
	list := func(encoded, value string) {
		used += len(encoded) + len(value)
		weight, last = weight+last, 1+len(encoded)/256
	}
	for _, member := range reply[2].([]any) {
		p.stale = append(p.stale, member.(string))
		list(member.(string), "")
	}
	if want == "count" {
		p.count = int(reply[3].(int64))
	} else {
		width := map[string]int{"values": 2, "records": 3, "keys": 1, "list": 1, "index": 1}[want]
		for result := range slices.Chunk(reply[3].([]any), width) {
			encoded, value := result[0].(string), ""
			if want == "list" {
				p.items = append(p.items, encoded)
				list(encoded, "")
				continue
			}
			key, err := wildkey.ParseKey(encoded)
			backend.Must(s.t, err)
			entry := wildkey.Entry{Key: key}
			if width > 1 {
				value = result[1].(string)
				entry.Value = []byte(value)
			}
			if width > 2 {
				if entry.TTL = time.Duration(result[2].(int64)) * time.Millisecond; result[2] == int64(-1) {
					entry.TTL = wildkey.NoExpiry
				}
			}
			p.entries = append(p.entries, entry)
			list(encoded, value)
		}
		p.count = len(p.entries) + len(p.items)
	}
	if p.count > limit || read > reads || weight > reads || used > bytes && len(p.stale)+len(p.entries)+len(p.items) > 1 {
		s.t.Errorf("%s %s %q: %d results of %d, %d entries of %d, which weigh more than %d, and %d bytes of %d",
			want, s.pattern, cursor, p.count, limit, read, reads, weight, used, bytes)
	}
	if p.cursor != "" && cursor != "" && (p.cursor[1:] < cursor[1:] || p.cursor[1:] == cursor[1:] && p.cursor >= cursor) {
		s.t.Errorf("%s %s: the cursor %q comes after %q", want, s.pattern, p.cursor, cursor)
	}
	return p, nil
}

// pages asks for pages until the last.
func (s *space) pages(shard int, want, cursor string) (all page, err error) {
	s.t.Helper()
	for more := true; more && !s.t.Failed(); more = cursor != "" {
		p, err := s.ask(shard, want, cursor)
		if err != nil {
			return all, err
		}
		cursor, all.count = p.cursor, all.count+p.count
		all.stale, all.entries = append(all.stale, p.stale...), append(all.entries, p.entries...)
		all.items = append(all.items, p.items...)
	}
	return all, nil
}

// checkWant has match.lua itself find all that matches, shard by shard.
func (s *space) checkWant(want string) {
	s.t.Helper()
	for shard := range s.layout.Shards() {
		live, entries := s.matching(shard)
		all, err := s.pages(shard, want, "")
		backend.Must(s.t, err)
		stale := slices.DeleteFunc(slices.Clone(entries), func(encoded string) bool {
			_, ok := s.live[encoded]
			return ok || want == "index"
		})
		if diff := cmp.Diff(stale, all.stale); len(stale)+len(all.stale) > 0 && diff != "" {
			s.t.Errorf("%s %s: stale entries (-filter +match.lua)\n%s", want, s.pattern, diff)
		}
		switch {
		case want == "count":
			if all.count != len(live) {
				s.t.Errorf("%s: %d are counted, %d are live", s.pattern, all.count, len(live))
			}
		case want == "index":
			s.same(want, entries, all.entries)
		default:
			s.same(want, live, all.entries)
		}
	}
}

// checkList has match.lua list what lives at the depth of the pattern and beneath.
func (s *space) checkList() {
	s.t.Helper()
	above, endless := strings.CutSuffix(s.pattern.String(), "**")
	for shard := range s.layout.Shards() {
		all, err := s.pages(shard, "list", "")
		if endless {
			if !redis.HasErrorPrefix(err, "BADARG") {
				s.t.Errorf("list of %s: %v", s.pattern, err)
			}
			continue
		}
		backend.Must(s.t, err)
		items := map[string]bool{}
		for encoded, record := range s.live {
			segments, depth := strings.Split(encoded, ":"), strings.Count(above, ":")+1
			if s.layout.Shard(record.Key) != shard || len(segments) < depth {
				continue
			}
			if item := strings.Join(segments[:depth], ":"); matches(s.pattern, item) {
				if len(segments) > depth {
					item += ":"
				}
				items[item] = true
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(items)), all.items); len(items)+len(all.items) > 0 && diff != "" {
			s.t.Errorf("list of %s (-filter +match.lua)\n%s", s.pattern, diff)
		}
	}
}

// same expects the keys, in order, and as much of the records as was asked for.
func (s *space) same(what string, keys []string, found []wildkey.Entry) {
	s.t.Helper()
	wantLines, gotLines := []string{}, []string{}
	values := slices.Contains([]string{"values", "records", "Match", "Collect"}, what)
	ttls := slices.Contains([]string{"records", "Match"}, what)
	line := func(key wildkey.Key, value []byte, ttl time.Duration) string {
		text := key.String()
		if values {
			text += "=" + string(value)
		}
		if ttls && ttl == wildkey.NoExpiry {
			text += " to stay"
		} else if ttls {
			// Time passes. It never takes half an hour.
			text += fmt.Sprint(" for ", ttl.Round(time.Hour))
		}
		return text
	}
	for _, encoded := range keys {
		record := s.live[encoded]
		if what == "index" {
			record.Key, _ = wildkey.ParseKey(encoded)
		}
		wantLines = append(wantLines, line(record.Key, record.Value, record.TTL))
	}
	for _, entry := range found {
		gotLines = append(gotLines, line(entry.Key, entry.Value, entry.TTL))
	}
	if diff := cmp.Diff(wantLines, gotLines); diff != "" {
		s.t.Errorf("%s %s (-filter +found)\n%s", what, s.pattern, diff)
	}
}

// checkCursor starts a walk anywhere. A cursor that is refused must lie outside of
// all that matches.
func (s *space) checkCursor() {
	s.t.Helper()
	shard := s.IntN(s.layout.Shards())
	_, entries := s.matching(shard)
	place := slices.Concat(s.above, wildkey.Key{s.segment()}).String()
	if len(entries) > 0 && s.IntN(3) > 0 {
		place = entries[s.IntN(len(entries))]
	}
	place += []string{"", "", ":", ":4", ";", "-", "\xff", "\x00"}[s.IntN(8)]
	cursor := []string{"[", "("}[s.IntN(2)] + place
	all, err := s.pages(shard, "index", cursor)
	if redis.HasErrorPrefix(err, "BADARG match: ARGV[2], the cursor,") {
		if len(entries) > 0 && entries[0] <= place && place <= entries[len(entries)-1] {
			s.t.Errorf("%s: the cursor %q is refused: %v", s.pattern, cursor, err)
		}
		return
	}
	backend.Must(s.t, err)
	behind := slices.DeleteFunc(entries, func(encoded string) bool {
		return encoded < place || encoded == place && cursor[0] == '('
	})
	s.same("index", behind, all.entries)
}

// checkVerbs has the Cache find the same.
func (s *space) checkVerbs() {
	s.t.Helper()
	live, _ := s.matching(-1)
	if n, err := s.cache.Count(ctx, s.pattern); n != len(live) || err != nil {
		s.t.Errorf("Count %s: %d, %v, want %d", s.pattern, n, err, len(live))
	}
	if live, entries := s.matching(-1); len(entries) != len(live) {
		s.t.Errorf("Count %s leaves stale entries: %q, and live are %q", s.pattern, entries, live)
	}
	s.vanishSome()
	live, _ = s.matching(-1)
	found, err := s.cache.Collect(ctx, s.pattern)
	backend.Must(s.t, err)
	s.same("Collect", live, found)
	found = nil
	for entry, err := range s.cache.Match(ctx, s.pattern, wildkey.WithTTL()) {
		backend.Must(s.t, err)
		found = append(found, entry)
	}
	s.same("Match", live, found)
	found = nil
	for key, err := range s.cache.MatchKeys(ctx, s.pattern) {
		backend.Must(s.t, err)
		found = append(found, wildkey.Entry{Key: key})
	}
	s.same("MatchKeys", live, found)
}

// checkBetweenWrites has records come and go between the pages, of the Cache and
// of match.lua: a record that is left alone is met exactly once.
func (s *space) checkBetweenWrites() {
	s.t.Helper()
	shard := s.IntN(s.layout.Shards())
	want := []string{"values", "records", "keys", "count", "index"}[s.IntN(5)]
	s.betweenWrites(want, shard, func(cursor string) page {
		p, err := s.ask(shard, want, cursor)
		backend.Must(s.t, err)
		return p
	})
	s.betweenWrites("values", -1, func(cursor string) page {
		limit := s.IntN(12)
		p, err := s.cache.Page(ctx, s.pattern, wildkey.PageOptions{Cursor: cursor, Limit: limit})
		backend.Must(s.t, err)
		if limit > 0 && len(p.Entries) > limit {
			s.t.Errorf("%s: a page has %d entries, its limit is %d", s.pattern, len(p.Entries), limit)
		}
		return page{cursor: p.Cursor, entries: p.Entries, count: len(p.Entries)}
	})
}

func (s *space) betweenWrites(want string, shard int, next func(cursor string) page) {
	s.t.Helper()
	live, _ := s.matching(shard)
	alone := map[string]bool{} // and so to be met
	for _, encoded := range live {
		alone[encoded] = true
	}
	count, most, met := 0, len(live), ""
	for cursor, more := "", true; more && !s.t.Failed(); more = cursor != "" {
		p := next(cursor)
		cursor, count = p.cursor, count+p.count
		for _, entry := range p.entries {
			encoded := entry.Key.String()
			record, isLive := s.live[encoded]
			switch {
			case encoded <= met:
				s.t.Errorf("%s %s: %s comes after %s", want, s.pattern, encoded, met)
			case !matches(s.pattern, encoded) || !isLive && want != "index":
				s.t.Errorf("%s %s: found %s, live: %v", want, s.pattern, encoded, isLive)
			case (want == "values" || want == "records") && string(entry.Value) != string(record.Value):
				s.t.Errorf("%s %s: %s has %q, not %q", want, s.pattern, encoded, entry.Value, record.Value)
			}
			met = encoded
			delete(alone, encoded)
		}
		for _, encoded := range p.stale {
			if _, isLive := s.live[encoded]; isLive || !matches(s.pattern, encoded) {
				s.t.Errorf("%s %s: %s is called stale, live: %v", want, s.pattern, encoded, isLive)
			}
		}
		if s.IntN(2) == 0 {
			delete(alone, s.put())
			most++
		}
		if keys := slices.Sorted(maps.Keys(s.live)); len(keys) > 0 && s.IntN(2) == 0 {
			encoded := keys[s.IntN(len(keys))]
			if s.IntN(2) == 0 {
				s.vanish(encoded)
			} else {
				_, err := s.cache.Delete(ctx, s.live[encoded].Key)
				backend.Must(s.t, err)
				delete(s.live, encoded)
			}
			delete(alone, encoded)
		}
	}
	switch {
	case want == "count" && (count < len(alone) || count > most):
		s.t.Errorf("%s: %d are counted, of %d that were left alone and %d in all", s.pattern, count, len(alone), most)
	case want != "count" && len(alone) > 0:
		s.t.Errorf("%s %s: not found between writes to other records: %q", want, s.pattern, slices.Sorted(maps.Keys(alone)))
	}
}

// checkDelete expects DeleteMatch to leave nothing that matches, live or stale.
func (s *space) checkDelete() {
	s.t.Helper()
	live, _ := s.matching(-1)
	if n, err := s.cache.DeleteMatch(ctx, s.pattern); n != len(live) || err != nil {
		s.t.Errorf("DeleteMatch %s: %d, %v, want %d", s.pattern, n, err, len(live))
	}
	for _, encoded := range live {
		delete(s.live, encoded)
	}
	if _, entries := s.matching(-1); len(entries) > 0 {
		s.t.Errorf("DeleteMatch %s leaves %q in the index", s.pattern, entries)
	}
	everything := wildkey.MustParsePattern("**")
	if n, err := s.cache.Count(ctx, everything); n != len(s.live) || err != nil {
		s.t.Errorf("after DeleteMatch %s: %d records, %v, want %d", s.pattern, n, err, len(s.live))
	}
}
