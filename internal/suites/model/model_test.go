// Package model holds sequences of all verbs against a model in Go.
package model

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/differ"
	"github.com/wildkey/wildkey/internal/draw"
)

var ctx = context.Background()

var (
	modelOps  = flag.Int("model-ops", 4_000, "how many operations TestModel tries on the engine and on each server")
	modelSeed = flag.Uint64("model-seed", 0, "what they are drawn from; 0: the time")
)

// model is what the namespace "test" holds, in Go: what package wildkey and
// its scripts promise, with none of their ways to keep it.
type model struct {
	now     int64 // Unix ms
	records map[string]modelRecord
	order   map[string]bool  // the order index
	expiry  map[string]int64 // the expiry index
}

// modelRecord is a record, and what a Put says of one.
type modelRecord struct {
	key       wildkey.Key
	value     string
	expires   int64 // Unix ms, or never
	ttl       time.Duration
	condition string // of a Put, as put.lua takes it
}

const never = math.MaxInt64

func (m *model) live(key string) bool {
	record, exists := m.records[key]
	return exists && record.expires >= m.now
}

// listed reports whether an index entry has not expired, be there a record or not.
func (m *model) listed(key string) bool {
	expires, expiring := m.expiry[key]
	return m.order[key] && (!expiring || expires >= m.now)
}

func (m *model) holds(record modelRecord) bool {
	live, key := m.live(record.key.String()), record.key.String()
	switch record.condition[0] {
	case '-':
		return !live
	case '+':
		return live
	case '=':
		return live && m.records[key].value == record.condition[1:]
	}
	return true
}

func (m *model) put(records []modelRecord, full bool) error {
	for i, record := range records {
		if !m.holds(record) {
			return fmt.Errorf("%w (record %d)", wildkey.ErrCondition, i+1)
		}
	}
	if full && len(records) > 0 {
		return errFull
	}
	if len(records) == 0 {
		return nil
	}
	expired, written := m.expired(64+2*len(records)), map[string]bool{}
	for _, record := range records {
		record.expires = m.after(record.ttl)
		m.write(record)
		written[record.key.String()] = true
	}
	m.forget(slices.DeleteFunc(expired, func(key string) bool { return written[key] }))
	return nil
}

func (m *model) after(ttl time.Duration) int64 {
	if ttl == wildkey.NoExpiry {
		return never
	}
	return m.now + ttl.Milliseconds()
}

func (m *model) write(record modelRecord) {
	key := record.key.String()
	m.records[key] = record
	m.order[key] = true
	delete(m.expiry, key)
	if record.expires != never {
		m.expiry[key] = record.expires
	}
}

// expired returns index entries that have expired, the longest expired first.
func (m *model) expired(limit int) []string {
	var expired []string
	for key, expires := range m.expiry {
		if expires < m.now {
			expired = append(expired, key)
		}
	}
	slices.SortFunc(expired, func(a, b string) int {
		if m.expiry[a] != m.expiry[b] {
			return int(m.expiry[a] - m.expiry[b])
		}
		return strings.Compare(a, b)
	})
	return expired[:min(limit, len(expired))]
}

func (m *model) forget(keys []string) {
	for _, key := range keys {
		delete(m.order, key)
		delete(m.expiry, key)
	}
}

func (m *model) delete(keys []string) int {
	existed := 0
	for _, key := range keys {
		if m.live(key) {
			existed++
		}
		delete(m.records, key)
	}
	m.forget(keys)
	return existed
}

func (m *model) touch(keys []string, expires func(modelRecord) int64, full bool) (int, error) {
	live := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !m.live(key) })
	if full && len(live) > 0 {
		return 0, errFull
	}
	for _, key := range live {
		record := m.records[key]
		record.expires = expires(record)
		m.write(record)
	}
	return len(live), nil
}

// keepTTL has a record expire when it does; one in its last millisecond gets one more.
func (m *model) keepTTL(record modelRecord) int64 {
	if record.expires == never {
		return never
	}
	return max(record.expires, m.now+1)
}

// match returns the keys that match and that found accepts, in byte order. The
// others are stale; those that no record is behind are swept, unless readOnly.
func (m *model) match(pattern wildkey.Pattern, readOnly bool, found func(string) bool) []string {
	var keys []string
	for _, encoded := range slices.Sorted(maps.Keys(m.order)) {
		key, err := wildkey.ParseKey(encoded)
		switch {
		case err != nil || !pattern.Matches(key):
		case found(encoded):
			keys = append(keys, encoded)
		case !readOnly && !m.live(encoded):
			m.forget([]string{encoded})
		}
	}
	return keys
}

func (m *model) sweep() wildkey.SweepStats {
	expired := m.expired(math.MaxInt)
	m.forget(expired)
	stats := wildkey.SweepStats{Purged: len(expired)}
	for key := range m.order {
		if !m.live(key) {
			m.forget([]string{key})
			stats.Dropped++
		}
	}
	return stats
}

// errFull is what the model says where a server says OOM.
var errFull = errors.New("memory is full")

// modelStep is one operation, on a Cache or behind its back.
type modelStep struct {
	verb     string
	records  []modelRecord
	keys     []wildkey.Key
	pattern  wildkey.Pattern
	ttl      time.Duration
	limit    int
	readOnly bool        // by a Cache that does not sweep
	full     bool        // while memory is full
	writes   []modelStep // of a Writer
}

// String writes the step as Go.
func (s modelStep) String() string {
	var args []string
	for _, r := range s.records {
		text := fmt.Sprintf("wildkey.Record{Key: %s, Value: []byte(%q), TTL: %s", goKey(r.key), r.value, goDuration(r.ttl))
		switch r.condition[0] {
		case '-':
			text += ", If: wildkey.Absent()"
		case '+':
			text += ", If: wildkey.Present()"
		case '=':
			text += fmt.Sprintf(", If: wildkey.Equal([]byte(%q))", r.condition[1:])
		}
		args = append(args, text+"}")
	}
	switch s.verb {
	case "Touch", "TouchMatch", "pass":
		args = append(args, goDuration(s.ttl))
	}
	for _, key := range s.keys {
		args = append(args, goKey(key))
	}
	if text := s.pattern.String(); text != "" {
		args = append(args, fmt.Sprintf("wildkey.MustParsePattern(%q)", text))
	}
	if s.verb == "Page" {
		args = append(args, "cursor", fmt.Sprint(s.limit))
	}
	list := strings.Join(args, ", ")
	switch {
	case s.verb == "Writer":
		var calls strings.Builder
		calls.WriteString("writer := wildkey.NewWriter(cache, wildkey.WriterOptions{})")
		for _, write := range s.writes {
			calls.WriteString("; " + strings.Replace(write.String(), "cache.", "writer.", 1))
		}
		return calls.String() + "; writer.Close()"
	case s.verb[0] >= 'a':
		return fmt.Sprintf("%s(%s)", s.verb, list)
	}
	text := fmt.Sprintf("cache.%s(ctx, %s)", s.verb, list)
	if s.readOnly {
		text = strings.Replace(text, "cache.", "readOnly.", 1)
	}
	if s.full {
		text += " // while memory is full"
	}
	return strings.Replace(text, "(ctx, )", "(ctx)", 1)
}

func goKey(key wildkey.Key) string {
	segments := make([]string, len(key))
	for i, segment := range key {
		draw.Segments[i] = fmt.Sprintf("%q", segment)
	}
	return "wildkey.Key{" + strings.Join(segments, ", ") + "}"
}

func goDuration(d time.Duration) string {
	switch {
	case d == wildkey.NoExpiry:
		return "wildkey.NoExpiry"
	case d%time.Minute == 0:
		return fmt.Sprintf("%d * time.Minute", d/time.Minute)
	}
	return fmt.Sprintf("%d * time.Millisecond", d/time.Millisecond)
}

// modelRun is a server, empty at first, beside the model of it.
type modelRun struct {
	*model
	*backend.Backend
	cache, readOnly *wildkey.Cache
}

// passing has all that expires, in the expiry index and by it the records,
// expire so much earlier: on a server, whose clock cannot be set, that is what
// time does.
const passing = `
local members = redis.call('ZRANGE', '{test}/expiry', 0, -1, 'WITHSCORES')
for i = 1, #members, 2 do
  local record, expires = '{test}:' .. members[i], string.format('%.0f', members[i + 1] - ARGV[1])
  redis.call('ZADD', '{test}/expiry', expires, members[i])
  if redis.call('PTTL', record) >= 0 then redis.call('PEXPIREAT', record, expires) end
end`

// step does the operation on both sides and returns the outcomes.
func (r *modelRun) step(t *testing.T, s modelStep) (got, want string) {
	t.Helper()
	cache := r.cache
	if s.readOnly {
		cache = r.readOnly
	}
	if s.full {
		r.LimitMemory(t, "1")
		defer r.LimitMemory(t, "0")
	}
	names := make([]string, len(s.keys))
	for i, key := range s.keys {
		names[i] = key.String()
	}
	afterTTL := func(modelRecord) int64 { return r.after(s.ttl) }
	switch s.verb {
	case "Put":
		return outcome(cache.Put(ctx, realRecords(s.records)...)), outcome(r.put(s.records, s.full))
	case "Get", "Take":
		read := map[string]func() ([]byte, error){
			"Get":  func() ([]byte, error) { return cache.Get(ctx, s.keys[0]) },
			"Take": func() ([]byte, error) { return cache.Take(ctx, s.keys[0]) },
		}[s.verb]
		value, err := read()
		got, want = outcome(err, string(value)), outcome(wildkey.ErrNotFound, "")
		if r.live(names[0]) {
			want = outcome(nil, r.records[names[0]].value)
		}
		if s.verb == "Take" {
			r.delete(names)
		}
		return got, want
	case "GetMany":
		values, err := cache.GetMany(ctx, s.keys...)
		found := make([][]byte, len(names))
		for i, name := range names {
			if r.live(name) {
				found[i] = []byte(r.records[name].value)
			}
		}
		return outcome(err, values), outcome(nil, found)
	case "Delete":
		n, err := cache.Delete(ctx, s.keys...)
		return outcome(err, n), outcome(nil, r.delete(names))
	case "Touch":
		n, err := cache.Touch(ctx, s.ttl, s.keys...)
		live, full := r.touch(names, afterTTL, s.full)
		return outcome(err, n), outcome(full, live)
	case "All", "Page":
		var found []string
		for _, key := range r.match(s.pattern, s.readOnly, r.live) {
			found = append(found, key+"="+r.records[key].value)
		}
		entries, err := matching(cache, s)
		return outcome(err, entries), outcome(nil, found)
	case "MatchKeys":
		var found []string
		for key, err := range cache.MatchKeys(ctx, s.pattern) {
			backend.Must(t, err)
			found = append(found, key.String())
		}
		return outcome(nil, found), outcome(nil, r.match(s.pattern, s.readOnly, r.listed))
	case "Count":
		n, err := cache.Count(ctx, s.pattern)
		return outcome(err, n), outcome(nil, len(r.match(s.pattern, s.readOnly, r.listed)))
	case "DeleteMatch":
		n, err := cache.DeleteMatch(ctx, s.pattern)
		return outcome(err, n), outcome(nil, r.delete(r.match(s.pattern, false, r.listed)))
	case "TouchMatch":
		n, err := cache.TouchMatch(ctx, s.ttl, s.pattern)
		live, _ := r.touch(r.match(s.pattern, false, r.listed), afterTTL, false)
		return outcome(err, n), outcome(nil, live)
	case "Sweep":
		stats, err := cache.Sweep(ctx)
		return outcome(err, stats), outcome(nil, r.sweep())
	case "Reindex", "loseIndexesAndReindex":
		if s.verb != "Reindex" {
			r.Do(t, "DEL", "{test}/keys", "{test}/expiry")
			r.order, r.expiry = map[string]bool{}, map[string]int64{}
		}
		n, err := cache.Reindex(ctx)
		live, _ := r.touch(slices.Collect(maps.Keys(r.records)), r.keepTTL, false)
		n = min(n, live) // SCAN may meet a record twice while a server, or the engine, resizes its table
		return outcome(err, n), outcome(nil, live)
	case "Writer":
		return r.writer(t, s.writes)
	case "evict":
		r.Do(t, "DEL", "{test}:"+names[0])
		delete(r.records, names[0])
	case "scriptFlush":
		backend.Must(t, r.Client.ScriptFlush(ctx).Err())
	case "pass":
		r.now += s.ttl.Milliseconds()
		if r.Engine != nil {
			r.Engine.Advance(s.ttl)
		} else if err := r.Client.Eval(ctx, passing, nil, s.ttl.Milliseconds()).Err(); err != redis.Nil {
			backend.Must(t, err)
		}
	default:
		t.Fatalf("no step %q", s.verb)
	}
	return "", ""
}

func realRecords(records []modelRecord) []wildkey.Record {
	var real []wildkey.Record
	for _, r := range records {
		record := wildkey.Record{Key: r.key, Value: []byte(r.value), TTL: r.ttl}
		switch r.condition[0] {
		case '-':
			record.If = wildkey.Absent()
		case '+':
			record.If = wildkey.Present()
		case '=':
			record.If = wildkey.Equal([]byte(r.condition[1:]))
		}
		real = append(real, record)
	}
	return real
}

// outcome is what a call returned, as text.
func outcome(err error, values ...any) string {
	if redis.IsOOMError(err) {
		err = errFull
	}
	texts := make([]string, len(values), len(values)+1)
	for i, value := range values {
		texts[i] = fmt.Sprintf("%#v", value)
	}
	return strings.Join(append(texts, fmt.Sprint(err)), ", ")
}

// matching reads all that matches, at once or page by page.
func matching(cache *wildkey.Cache, s modelStep) (found []string, err error) {
	add := func(entries []wildkey.Entry) {
		for _, entry := range entries {
			found = append(found, entry.Key.String()+"="+string(entry.Value))
		}
	}
	if s.verb == "All" {
		all, err := cache.Collect(ctx, s.pattern)
		add(all)
		return found, err
	}
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := cache.Page(ctx, s.pattern, cursor, s.limit)
		if err != nil || len(page.Entries) > s.limit {
			return found, fmt.Errorf("%d entries, %w", len(page.Entries), err)
		}
		add(page.Entries)
		cursor = page.Cursor
	}
	return found, nil
}

// writer sweeps before it writes: how much one call purges depends on what a
// Writer makes one call of.
func (r *modelRun) writer(t *testing.T, writes []modelStep) (got, want string) {
	t.Helper()
	stats, err := r.cache.Sweep(ctx)
	got, want = outcome(err, stats), outcome(nil, r.sweep())
	writer := wildkey.NewWriter(r.cache, wildkey.WriterOptions{
		OnError: func(err error, _ []wildkey.Record, _ []wildkey.Key) { got += outcome(err) },
	})
	for _, write := range writes {
		if write.verb == "Delete" {
			backend.Must(t, writer.Delete(ctx, write.keys...))
			for _, key := range write.keys {
				r.delete([]string{key.String()})
			}
			continue
		}
		backend.Must(t, writer.Put(ctx, realRecords(write.records)...))
		if err := r.put(write.records, false); err != nil {
			want += outcome(err)
		}
	}
	backend.Must(t, writer.Close())
	return got, want
}

// states are the raw keyspace and the model's, as text, with times relative to
// the clock: to the millisecond on the engine, to the minute on a server.
func (r *modelRun) states(t *testing.T) (got, want string) {
	t.Helper()
	unit, now := 1.0, float64(r.now)
	if r.Server != nil {
		unit, now = 60_000, float64(r.Client.Time(ctx).Val().UnixMilli())
	}
	line := func(what, key, value string, left float64) string {
		return fmt.Sprintf("%s %s %q %+.0f\n", what, key, value, math.Round(left/unit))
	}
	var real, modelled []string
	for _, index := range []string{"keys", "expiry"} {
		entries, err := r.Client.ZRangeWithScores(ctx, "{test}/"+index, 0, -1).Result()
		backend.Must(t, err)
		for _, entry := range entries {
			left := entry.Score
			if index == "expiry" {
				left -= now
			}
			real = append(real, line(index, entry.Member.(string), "", left))
		}
	}
	names, err := r.Client.Keys(ctx, "{test}:*").Result()
	backend.Must(t, err)
	for _, name := range names {
		expires, _ := backend.ExpiresAt(t, r.Client, name)
		left := float64(expires) - now
		if expires < 0 {
			left = math.Inf(1)
		}
		real = append(real, line("record", strings.TrimPrefix(name, "{test}:"), r.Client.Get(ctx, name).Val(), left))
	}
	for key := range r.order {
		modelled = append(modelled, line("keys", key, "", 0))
	}
	for key, expires := range r.expiry {
		modelled = append(modelled, line("expiry", key, "", float64(expires-r.now)))
	}
	for key, record := range r.records {
		left := float64(record.expires - r.now)
		if record.expires == never {
			left = math.Inf(1)
		}
		if r.live(key) {
			modelled = append(modelled, line("record", key, record.value, left))
		}
	}
	slices.Sort(real)
	slices.Sort(modelled)
	return strings.Join(real, ""), strings.Join(modelled, "")
}

// play runs the steps on an empty server and says what differs first.
func play(t *testing.T, b *backend.Backend, options wildkey.Options, steps []modelStep) error {
	t.Helper()
	b.Do(t, "FLUSHALL")
	r := &modelRun{
		model:   &model{records: map[string]modelRecord{}, order: map[string]bool{}, expiry: map[string]int64{}},
		Backend: b, cache: b.Cache(t, options),
	}
	options.ReadOnly = true
	r.readOnly = b.Cache(t, options)
	if b.Engine != nil {
		r.now = b.Engine.Now().UnixMilli()
	}
	for i, s := range steps {
		if got, want := r.step(t, s); got != want {
			return fmt.Errorf("step %d: %s\n got %s\nwant %s", i+1, s, got, want)
		}
	}
	got, want := r.states(t)
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the keyspace after the last step (-model +server)\n%s", diff)
	}
	if breaches := backend.Breaches(t, b.Client); len(breaches) > 0 {
		return fmt.Errorf("after the last step: %q", breaches)
	}
	return nil
}

// TestModel draws sequences of all operations and expects of each, and of the
// keyspace in the end, what the model says. A sequence that fails is shrunk.
func TestModel(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		seed := *modelSeed
		if seed == 0 {
			seed = uint64(time.Now().UnixNano())
		}
		t.Logf("reproduce with -model-seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		const length = 50
		for range *modelOps / length {
			d := newDrawing(random, b)
			options := wildkey.Options{
				PageLimit: 1 + random.IntN(9), PageReads: 1 + random.IntN(20), CallBytes: 1 + random.IntN(100),
				CallRecords: d.most,
			}
			steps := make([]modelStep, length)
			for i := range steps {
				steps[i] = d.step(t)
			}
			err := play(t, b, options, steps)
			if err == nil {
				continue
			}
			unshrunk := err
			steps = shrinkSteps(steps, func(steps []modelStep) bool {
				// What a Writer makes one call of, and so what goes wrong in it, is not always the same.
				for range 5 {
					if failure := play(t, b, options, steps); failure != nil {
						err = failure
						return true
					}
					if !slices.ContainsFunc(steps, func(s modelStep) bool { return s.verb == "Writer" }) {
						break
					}
				}
				return false
			})
			var text strings.Builder
			for _, s := range steps {
				fmt.Fprintln(&text, s)
			}
			t.Fatalf("seed %d, %+v\n%s%v\nbefore it was shrunk:\n%v", seed, options, &text, err, unshrunk)
		}
	})
}

// shrinkSteps shrinks a failing sequence, and then what its steps name.
func shrinkSteps(steps []modelStep, fails func([]modelStep) bool) []modelStep {
	steps = differ.Shrink(steps, fails)
	shrinkEach(steps, fails)
	return differ.Shrink(steps, fails)
}

// shrinkEach shrinks the steps one by one, a Writer's too, in place.
func shrinkEach(steps []modelStep, fails func([]modelStep) bool) {
	for i, s := range steps {
		with := func(change func(*modelStep)) bool {
			changed := s
			change(&changed)
			return fails(slices.Concat(steps[:i], []modelStep{changed}, steps[i+1:]))
		}
		s.records = differ.Shrink(s.records, func(records []modelRecord) bool {
			return len(records) > 0 && with(func(s *modelStep) { s.records = records })
		})
		s.keys = differ.Shrink(s.keys, func(keys []wildkey.Key) bool {
			return len(keys) > 0 && with(func(s *modelStep) { s.keys = keys })
		})
		withWrites := func(writes []modelStep) bool { return with(func(s *modelStep) { s.writes = writes }) }
		s.writes = differ.Shrink(s.writes, withWrites)
		shrinkEach(s.writes, withWrites)
		if with(func(s *modelStep) { s.full, s.readOnly = false, false }) {
			s.full, s.readOnly = false, false
		}
		steps[i] = s
	}
}

// drawing draws the steps of one sequence, all on a few keys.
type drawing struct {
	*rand.Rand
	keys []wildkey.Key
	most int           // records in one call
	unit time.Duration // of TTLs
	tick time.Duration // what each passing of time adds to whole units
}

// crowd is so large a Put that the next one cannot purge all of it.
const crowd = 250

// newDrawing has the engine's time in milliseconds, where every bound shows,
// and sometimes more keys than one Put purges. On a server the sequence itself
// takes time: there all that expires does so minutes before or after any step,
// and no more at once than a Put purges, as their order is not known.
func newDrawing(random *rand.Rand, b *backend.Backend) *drawing {
	d := &drawing{Rand: random, most: []int{5, 20, 80}[random.IntN(3)], unit: time.Millisecond}
	many := 5 + random.IntN(35)
	if b.Server != nil {
		d.unit, d.tick = time.Hour, time.Minute
	} else if random.IntN(4) == 0 {
		many, d.most = 300, crowd
	}
	few := draw.Segments[random.IntN(len(draw.Segments)-5):]
	for range many {
		key := make(wildkey.Key, 1+random.IntN(3))
		for i := range key {
			key[i] = few[random.IntN(len(few))]
		}
		d.keys = append(d.keys, key)
	}
	return d
}

func (d *drawing) some(most int) []wildkey.Key {
	keys := make([]wildkey.Key, 1+d.IntN(most))
	for i := range keys {
		keys[i] = d.keys[d.IntN(len(d.keys))]
	}
	return keys
}

func (d *drawing) ttl() time.Duration {
	if d.IntN(5) == 0 {
		return wildkey.NoExpiry
	}
	return time.Duration(1+d.IntN(4)) * d.unit
}

func (d *drawing) put() modelStep {
	s := modelStep{verb: "Put"}
	most, conditions := 1+d.IntN(4), d.IntN(3) == 0
	if d.IntN(8) == 0 || d.most == crowd && d.IntN(3) == 0 {
		most = d.most
	}
	values := []string{"", "v", "w", "a longer value"}
	for _, key := range d.some(most) {
		record := modelRecord{key: key, value: values[d.IntN(len(values))], ttl: d.ttl(), condition: "*"}
		if conditions && d.IntN(2) == 0 {
			record.condition = []string{"-", "+", "=" + values[d.IntN(len(values))]}[d.IntN(3)]
		}
		s.records = append(s.records, record)
	}
	return s
}

func (d *drawing) step(t *testing.T) modelStep {
	t.Helper()
	segment := func() string { return d.some(1)[0][0] }
	pattern := func() wildkey.Pattern { return draw.Pattern(t, d.Rand, segment, nil) }
	full, readOnly := d.IntN(10) == 0, d.IntN(4) == 0
	switch n := d.IntN(100); {
	case n < 25:
		s := d.put()
		s.full = full
		return s
	case n < 29:
		return modelStep{verb: "Get", keys: d.some(1)}
	case n < 32:
		return modelStep{verb: "GetMany", keys: d.some(5)}
	case n < 37:
		return modelStep{verb: "Delete", keys: d.some(4), full: full}
	case n < 40:
		return modelStep{verb: "Take", keys: d.some(1), full: full}
	case n < 46:
		return modelStep{verb: "Touch", ttl: d.ttl(), keys: d.some(4), full: full}
	case n < 52:
		return modelStep{verb: "All", pattern: pattern(), readOnly: readOnly}
	case n < 57:
		return modelStep{verb: "Page", pattern: pattern(), readOnly: readOnly, limit: 1 + d.IntN(5)}
	case n < 61:
		return modelStep{verb: "MatchKeys", pattern: pattern(), readOnly: readOnly}
	case n < 65:
		return modelStep{verb: "Count", pattern: pattern(), readOnly: readOnly}
	case n < 68:
		return modelStep{verb: "DeleteMatch", pattern: pattern()}
	case n < 71:
		return modelStep{verb: "TouchMatch", ttl: d.ttl(), pattern: pattern()}
	case n < 73:
		return modelStep{verb: "Sweep"}
	case n < 75:
		return modelStep{verb: "Reindex"}
	case n < 76:
		return modelStep{verb: "loseIndexesAndReindex"}
	case n < 80:
		s := modelStep{verb: "Writer"}
		for range 1 + d.IntN(6) {
			write := d.put()
			if d.IntN(3) == 0 {
				write = modelStep{verb: "Delete", keys: d.some(3)}
			}
			s.writes = append(s.writes, write)
		}
		return s
	case n < 88:
		return modelStep{verb: "evict", keys: d.some(1)}
	case n < 89:
		return modelStep{verb: "scriptFlush"}
	}
	return modelStep{verb: "pass", ttl: time.Duration(d.IntN(6))*d.unit + d.tick}
}
