package model

import (
	"cmp"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/writer"
)

var ctx = context.Background()

// modelStep is one operation, on a Cache or behind its back.
type modelStep struct {
	verb       string
	ops        []modelOp // of Apply, Put and PutEach
	keys       []wildkey.Key
	pattern    wildkey.Pattern
	ttl        time.Duration
	limit      int
	value      string
	leaveStale bool        // by a Cache that does not sweep
	full       bool        // while memory is full
	writes     []modelStep // of a Writer
}

// String writes the step as Go.
func (s modelStep) String() string {
	var args []string
	for _, op := range s.ops {
		if s.verb == "Apply" {
			args = append(args, goOp(op))
		} else {
			args = append(args, goRecord(op.record))
		}
	}
	if s.ttl != 0 {
		args = append(args, goDuration(s.ttl))
	}
	for _, key := range s.keys {
		args = append(args, goKey(key))
	}
	if text := s.pattern.String(); text != "" {
		args = append(args, fmt.Sprintf("wildkey.MustParsePattern(%q)", text))
	}
	if s.verb == "Page" {
		args = append(args, fmt.Sprintf("wildkey.PageOptions{Limit: %d}", s.limit))
	}
	if strings.HasPrefix(s.verb, "SET") {
		args = append(args, fmt.Sprintf("%q", s.value))
	}
	list := strings.Join(args, ", ")
	switch {
	case s.verb == "Writer":
		var calls strings.Builder
		calls.WriteString("w := writer.New(cache, writer.Options{})")
		for _, write := range s.writes {
			calls.WriteString("; " + strings.Replace(write.String(), "cache.", "w.", 1))
		}
		return calls.String() + "; w.Close(ctx)"
	case !isVerb(s.verb):
		return fmt.Sprintf("%s(%s)", s.verb, list)
	}
	text := fmt.Sprintf("cache.%s(ctx, %s)", s.verb, list)
	if s.leaveStale {
		text = strings.Replace(text, "cache.", "leavesStale.", 1)
	}
	if s.full {
		text += " // while memory is full"
	}
	return strings.Replace(text, "(ctx, )", "(ctx)", 1)
}

// isVerb tells the verbs of a Cache from Redis' own and from those of this test.
func isVerb(verb string) bool { return verb[0] < 'a' && verb[1] >= 'a' || verb == "TTL" }

func goOp(op modelOp) string {
	var text string
	unconditional := op.record
	unconditional.condition = "*"
	switch op.verb {
	case "put":
		text = "wildkey.OpPut(" + goRecord(unconditional) + ")"
	case "touch":
		text = fmt.Sprintf("wildkey.OpTouch(%s, %s)", goKey(op.record.key), goDuration(op.record.ttl))
	case "delete":
		text = "wildkey.OpDelete(" + goKey(op.record.key) + ")"
	case "check":
		text = "wildkey.OpCheck(" + goKey(op.record.key) + ")"
	}
	if condition := goCondition(op.record); condition != "" {
		text += ".If(" + condition + ")"
	}
	return text
}

func goRecord(r modelRecord) string {
	text := fmt.Sprintf("wildkey.Record{Key: %s, Value: []byte(%q), TTL: %s", goKey(r.key), r.value, goDuration(r.ttl))
	if condition := goCondition(r); condition != "" {
		text += ", If: " + condition
	}
	return text + "}"
}

func goCondition(r modelRecord) string {
	switch r.condition[0] {
	case '-':
		return "wildkey.Absent()"
	case '+':
		return "wildkey.Present()"
	case '=':
		return fmt.Sprintf("wildkey.Equal([]byte(%q))", r.condition[1:])
	case '#':
		return fmt.Sprintf("wildkey.EqualSHA1(%q)", sha1Of(r.condition[1:]))
	}
	return ""
}

func sha1Of(value string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(value))) }

func goKey(key wildkey.Key) string {
	segments := make([]string, len(key))
	for i, segment := range key {
		segments[i] = fmt.Sprintf("%q", segment)
	}
	return "wildkey.Key{" + strings.Join(segments, ", ") + "}"
}

func goDuration(d time.Duration) string {
	switch {
	case d == wildkey.NoExpiry:
		return "wildkey.NoExpiry"
	case d == wildkey.KeepTTL:
		return "wildkey.KeepTTL"
	case d%time.Minute == 0:
		return fmt.Sprintf("%d * time.Minute", d/time.Minute)
	}
	return fmt.Sprintf("%d * time.Millisecond", d/time.Millisecond)
}

func realRecord(r modelRecord) wildkey.Record {
	record := wildkey.Record{Key: r.key, Value: []byte(r.value), TTL: r.ttl}
	switch r.condition[0] {
	case '-':
		record.If = wildkey.Absent()
	case '+':
		record.If = wildkey.Present()
	case '=':
		record.If = wildkey.Equal([]byte(r.condition[1:]))
	case '#':
		record.If = wildkey.EqualSHA1(sha1Of(r.condition[1:]))
	}
	return record
}

func realOps(ops []modelOp) (real []wildkey.Op) {
	for _, op := range ops {
		record := realRecord(op.record)
		switch op.verb {
		case "put":
			real = append(real, wildkey.OpPut(record))
		case "touch":
			real = append(real, wildkey.OpTouch(record.Key, record.TTL).If(record.If))
		case "delete":
			real = append(real, wildkey.OpDelete(record.Key).If(record.If))
		case "check":
			real = append(real, wildkey.OpCheck(record.Key).If(record.If))
		}
	}
	return real
}

// opsOn has one operation a key.
func opsOn(verb string, ttl time.Duration, keys []wildkey.Key) (ops []modelOp) {
	for _, key := range keys {
		ops = append(ops, modelOp{verb, modelRecord{key: key, ttl: ttl, condition: "*"}})
	}
	return ops
}

// outcome is what a call returned, as text.
func outcome(err error, values ...any) string {
	var failed *wildkey.ConditionError
	switch {
	case redis.IsOOMError(err):
		err = errFull
	case errors.As(err, &failed):
		err = fmt.Errorf("the condition %d, of %s", failed.Index, failed.Key)
	default:
		for _, known := range []error{wildkey.ErrNotFound, wildkey.ErrCrossShard, wildkey.ErrBadArgument} {
			if errors.Is(err, known) {
				err = known
			}
		}
	}
	texts := make([]string, len(values), len(values)+1)
	for i, value := range values {
		texts[i] = fmt.Sprintf("%#v", value)
	}
	return strings.Join(append(texts, fmt.Sprint(err)), ", ")
}

func outcomes(errs []error) (texts []string) {
	for _, err := range errs {
		texts = append(texts, outcome(err))
	}
	return texts
}

// modelRun is a server, empty at first, beside the model of it.
type modelRun struct {
	*model
	*backend.Backend
	cache, leavesStale, elsewhere *wildkey.Cache
}

// passing has all that expires do so some milliseconds earlier: on a server, whose
// clock cannot be set, that is what time does.
const passing = `
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, string.format('%.0f', left - ARGV[1])) end
end`

// left writes the time that a record has left, to the millisecond on the engine.
// On a server the steps themselves take time, but never five minutes.
func (r *modelRun) left(d time.Duration) string {
	switch {
	case d == wildkey.NoExpiry:
		return "ever"
	case r.Server != nil:
		d = d.Round(10 * time.Minute)
	}
	return d.String()
}

func (r *modelRun) modelLeft(key string) string {
	expires := r.records[key].expires
	if expires == never {
		return r.left(wildkey.NoExpiry)
	}
	return r.left(max(1, time.Duration(expires-r.now)) * time.Millisecond)
}

// step does the operation on both sides and returns the outcomes.
func (r *modelRun) step(t *testing.T, s modelStep) (got, want string) {
	t.Helper()
	cache := r.cache
	if s.leaveStale {
		cache = r.leavesStale
	}
	if s.full {
		r.LimitMemory(t, "1")
		defer r.LimitMemory(t, "0")
	}
	switch s.verb {
	case "Put", "Apply", "Touch", "Delete", "Take":
		return r.write(cache, s)
	case "PutEach", "DeleteEach", "TouchEach":
		return r.each(cache, s)
	case "Get", "GetMany", "GetTouch", "TTL":
		return r.get(cache, s)
	case "Collect", "Match", "MatchKeys", "Page", "Count", "DeleteMatch", "TouchMatch":
		before := r.stale(t)
		if got, want = r.find(cache, s); s.leaveStale {
			got, want = fmt.Sprint(got, r.stale(t)), fmt.Sprint(want, before)
		}
		return got, want
	case "DEL", "GETDEL", "PERSIST", "PEXPIRE", "SET", "SETKEEPTTL":
		return r.byHand(t, s)
	case "Sweep":
		stale := len(r.stale(t))
		n, err := cache.Sweep(ctx)
		r.forget(everything)
		return outcome(err, n), outcome(nil, stale)
	case "sweepSuspects": // of which some live, as when they were put between the page and the sweep
		script, stale, dropped := corpus.Load(t, r.Client, "sweep"), r.stale(t), map[string]bool{}
		suspects := []string{cache.Layout().Index(cache.Layout().Shard(s.keys[0]))}
		for _, key := range s.keys {
			name, err := cache.Layout().Record(key)
			backend.Must(t, err)
			suspects = append(suspects, name)
			if stale[key.String()] {
				dropped[key.String()] = true
				delete(r.entries, key.String())
			}
		}
		n, err := r.Client.EvalSha(ctx, script, suspects).Int()
		return outcome(err, n), outcome(nil, len(dropped))
	case "reindex", "loseIndexesAndReindex":
		if s.verb != "reindex" {
			for shard := range cache.Layout().Shards() {
				r.Do(t, "DEL", cache.Layout().Index(shard))
			}
			clear(r.entries)
		}
		n, err := admin.Reindex(ctx, r.Client, cache.Layout())
		live := r.liveKeys()
		for _, key := range live {
			r.entries[key] = true
		}
		n = min(n, len(live)) // SCAN may meet a record twice while a server, or the engine, resizes its table
		return outcome(err, n), outcome(nil, len(live))
	case "moveThereAndBack":
		there, err := admin.Move(ctx, r.cache, r.elsewhere)
		back, errBack := admin.Move(ctx, r.elsewhere, r.cache)
		live := r.liveKeys()
		for _, key := range live {
			// One in its last millisecond gets one more.
			record := r.records[key]
			record.expires = max(record.expires, r.now+1)
			r.records[key] = record
		}
		r.forget(everything)
		return outcome(cmp.Or(err, errBack), there, back), outcome(nil, len(live), len(live))
	case "Writer":
		return r.writer(t, s.writes)
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

var everything = wildkey.MustParsePattern("**")

func names(keys []wildkey.Key) (names []string) {
	for _, key := range keys {
		names = append(names, key.String())
	}
	return names
}

// write does a verb that is one atomic call.
func (r *modelRun) write(cache *wildkey.Cache, s modelStep) (got, want string) {
	switch s.verb {
	case "Put":
		var records []wildkey.Record
		for _, op := range s.ops {
			records = append(records, realRecord(op.record))
		}
		_, err := r.apply(s.ops, s.full)
		return outcome(cache.Put(ctx, records...)), outcome(err)
	case "Apply":
		n, err := cache.Apply(ctx, realOps(s.ops)...)
		done, failure := r.apply(s.ops, s.full)
		return outcome(err, n), outcome(failure, done)
	case "Touch":
		n, err := cache.Touch(ctx, s.ttl, s.keys...)
		done, failure := r.apply(opsOn("touch", s.ttl, s.keys), s.full)
		return outcome(err, n), outcome(failure, done)
	case "Take":
		value, err := cache.Take(ctx, s.keys[0])
		want = outcome(wildkey.ErrNotFound, "")
		if key := s.keys[0].String(); r.live(key) {
			want = outcome(nil, r.records[key].value)
		}
		r.delete(names(s.keys)...)
		return outcome(err, string(value)), want
	}
	n, err := cache.Delete(ctx, s.keys...) // a key may come twice
	shards := map[int]bool{}
	for _, key := range s.keys {
		shards[key.Shard(r.shards, r.leading)] = true
	}
	if len(shards) > 1 {
		return outcome(err, n), outcome(wildkey.ErrCrossShard, 0)
	}
	return outcome(err, n), outcome(nil, r.delete(names(s.keys)...))
}

// each does a verb that takes any number of records, of any shards.
func (r *modelRun) each(cache *wildkey.Cache, s modelStep) (got, want string) {
	var n, done int
	var err error
	var told, wanted []error
	switch s.verb {
	case "PutEach":
		n, err = cache.PutEach(ctx, func(yield func(wildkey.Record, error) bool) {
			for _, op := range s.ops {
				if !yield(realRecord(op.record), nil) {
					return
				}
			}
		}, func(_ wildkey.Record, err error) { told = append(told, err) })
		done, wanted = r.oneByOne(s.ops, s.full)
	case "DeleteEach":
		n, err = cache.DeleteEach(ctx, withoutError(s.keys), func(_ wildkey.Key, err error) { told = append(told, err) })
		done, wanted = r.oneByOne(opsOn("delete", 0, s.keys), s.full)
	case "TouchEach":
		n, err = cache.TouchEach(ctx, s.ttl, withoutError(s.keys), func(_ wildkey.Key, err error) { told = append(told, err) })
		done, wanted = r.oneByOne(opsOn("touch", s.ttl, s.keys), s.full)
	}
	return outcome(err, n, outcomes(told)), outcome(cmp.Or(wanted...), done, outcomes(wanted))
}

func withoutError(keys []wildkey.Key) iter.Seq2[wildkey.Key, error] {
	return func(yield func(wildkey.Key, error) bool) {
		for _, key := range keys {
			if !yield(key, nil) {
				return
			}
		}
	}
}

// get does a verb that reads by key.
func (r *modelRun) get(cache *wildkey.Cache, s modelStep) (got, want string) {
	if s.verb == "GetMany" {
		values, err := cache.GetMany(ctx, s.keys...)
		found := make([][]byte, len(s.keys))
		for i, key := range s.keys {
			if r.live(key.String()) {
				found[i] = []byte(r.records[key.String()].value)
			}
		}
		return outcome(err, values), outcome(nil, found)
	}
	key, live := s.keys[0].String(), r.live(s.keys[0].String())
	value, left, wantLeft := []byte{}, "", ""
	var err error
	switch s.verb {
	case "Get":
		value, err = cache.Get(ctx, s.keys[0])
	case "GetTouch":
		value, err = cache.GetTouch(ctx, s.ttl, s.keys[0])
		r.touch(s.ttl, key)
	case "TTL":
		var ttl time.Duration
		if ttl, err = cache.TTL(ctx, s.keys[0]); err == nil {
			left, value = r.left(ttl), []byte(r.records[key].value)
		}
		if live {
			wantLeft = r.modelLeft(key)
		}
	}
	if !live {
		return outcome(err, string(value), left), outcome(wildkey.ErrNotFound, "", "")
	}
	return outcome(err, string(value), left), outcome(nil, r.records[key].value, wantLeft)
}

// find does a verb that takes a pattern.
func (r *modelRun) find(cache *wildkey.Cache, s modelStep) (got, want string) {
	live := r.match(s.pattern)
	switch s.verb {
	case "DeleteMatch":
		n, err := cache.DeleteMatch(ctx, s.pattern)
		r.forget(s.pattern)
		return outcome(err, n), outcome(nil, r.delete(live...))
	case "TouchMatch":
		n, err := cache.TouchMatch(ctx, s.ttl, s.pattern)
		return outcome(err, n), outcome(nil, r.touch(s.ttl, live...))
	}
	if !s.leaveStale {
		defer r.forget(s.pattern)
	}
	if s.verb == "Count" {
		n, err := cache.Count(ctx, s.pattern)
		return outcome(err, n), outcome(nil, len(live))
	}
	var found, wanted []string
	err := r.list(cache, s, func(entry wildkey.Entry) {
		left := ""
		if entry.TTL != 0 {
			left = r.left(entry.TTL)
		}
		found = append(found, line(entry.Key.String(), string(entry.Value), left))
	})
	for _, key := range live {
		switch s.verb {
		case "MatchKeys":
			wanted = append(wanted, line(key, "", ""))
		case "Collect":
			wanted = append(wanted, line(key, r.records[key].value, ""))
		default:
			wanted = append(wanted, line(key, r.records[key].value, r.modelLeft(key)))
		}
	}
	return outcome(err, found), outcome(nil, wanted)
}

// list reads all that matches: at once, by an iterator or page by page.
func (r *modelRun) list(cache *wildkey.Cache, s modelStep, met func(wildkey.Entry)) error {
	switch s.verb {
	case "Collect":
		all, err := cache.Collect(ctx, s.pattern)
		for _, entry := range all {
			met(entry)
		}
		return err
	case "Match":
		for entry, err := range cache.Match(ctx, s.pattern, wildkey.WithTTL()) {
			if err != nil {
				return err
			}
			met(entry)
		}
		return nil
	case "MatchKeys":
		for key, err := range cache.MatchKeys(ctx, s.pattern) {
			if err != nil {
				return err
			}
			met(wildkey.Entry{Key: key})
		}
		return nil
	}
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := cache.Page(ctx, s.pattern, wildkey.PageOptions{Cursor: cursor, Limit: s.limit, WithTTL: true})
		if err != nil || len(page.Entries) > s.limit {
			return fmt.Errorf("a page of %d entries, %w", len(page.Entries), err)
		}
		for _, entry := range page.Entries {
			met(entry)
		}
		cursor = page.Cursor
	}
	return nil
}

// byHand does to a record what any client of Redis may, and to one that is not
// there nothing.
func (r *modelRun) byHand(t *testing.T, s modelStep) (got, want string) {
	t.Helper()
	key := s.keys[0].String()
	name, err := r.cache.Layout().Record(s.keys[0])
	backend.Must(t, err)
	record, live := r.records[key], r.live(key)
	switch s.verb {
	case "DEL":
		return outcome(nil, r.Do(t, "DEL", name)), outcome(nil, int64(r.vanish(key)))
	case "GETDEL":
		got, want = outcome(nil, r.Do(t, "GETDEL", name)), outcome(nil, nil)
		if live {
			want = outcome(nil, record.value)
		}
		r.vanish(key)
		return got, want
	case "PERSIST":
		r.Do(t, "PERSIST", name)
		record.expires = never
	case "PEXPIRE":
		r.Do(t, "PEXPIRE", name, s.ttl.Milliseconds())
		record.expires = r.now + s.ttl.Milliseconds()
	case "SET":
		r.Do(t, "SET", name, s.value, "XX")
		record.value, record.expires = s.value, never
	case "SETKEEPTTL":
		r.Do(t, "SET", name, s.value, "XX", "KEEPTTL")
		record.value = s.value
	}
	if live {
		r.records[key] = record
	}
	return "", ""
}

// writer gives the calls to a Writer. In which calls it does them, and so in which
// order the errors of several shards come, is its own affair.
func (r *modelRun) writer(t *testing.T, writes []modelStep) (got, want string) {
	t.Helper()
	var told, wanted []error
	w := writer.New(r.cache, writer.Options{OnError: func(f writer.Failure) { told = append(told, f.Err) }})
	for _, write := range writes {
		var err error
		if write.verb == "Delete" {
			err = w.Delete(ctx, write.keys...)
			write.ops = opsOn("delete", 0, write.keys)
		} else {
			err = w.Apply(ctx, realOps(write.ops)...)
		}
		if err != nil {
			told = append(told, err)
		}
		if _, err := r.apply(write.ops, false); err != nil {
			wanted = append(wanted, err)
		}
	}
	err := w.Close(ctx)
	return outcome(err, sorted(outcomes(told))), outcome(nil, sorted(outcomes(wanted)))
}

func sorted(texts []string) []string { return slices.Sorted(slices.Values(texts)) }

func (r *modelRun) snapshot(t *testing.T) (state invariant.State, now int64) {
	t.Helper()
	reply, err := r.Client.Eval(ctx, invariant.Snapshot, nil).Result()
	backend.Must(t, err)
	state, now, err = invariant.ParseSnapshot(reply)
	backend.Must(t, err)
	return state, now
}

// stale returns the entries that the indexes hold of records that are gone.
func (r *modelRun) stale(t *testing.T) map[string]bool {
	t.Helper()
	stale := map[string]bool{}
	state, _ := r.snapshot(t)
	for _, held := range state {
		for member := range held.Scores {
			if !r.live(member) {
				stale[member] = true
			}
		}
	}
	return stale
}

// states are the raw keyspace and the model's, as text. Of stale entries the model
// knows only which there may be.
func (r *modelRun) states(t *testing.T) (got, want string) {
	t.Helper()
	state, now := r.snapshot(t)
	layout := r.cache.Layout()
	var real, modelled []string
	for name, held := range state {
		if key, err := layout.Key(name); err == nil && held.Kind == "string" {
			left := r.left(wildkey.NoExpiry)
			if expires, _ := strconv.ParseInt(held.Expires, 10, 64); expires >= 0 {
				left = r.left(max(1, time.Duration(expires-now)) * time.Millisecond)
			}
			real = append(real, line(key.String(), held.Text, left))
			continue
		}
		if held.Kind != "zset" || held.Expires != "-1" {
			real = append(real, fmt.Sprintf("%s: %+v", name, held))
		}
		for member, score := range held.Scores {
			if r.live(member) || !r.entries[member] {
				real = append(real, fmt.Sprintf("%s: %s %s", name, score, member))
			}
		}
	}
	for key, record := range r.records {
		if r.live(key) {
			index := layout.Index(record.key.Shard(r.shards, r.leading))
			modelled = append(modelled, line(key, record.value, r.modelLeft(key)), fmt.Sprintf("%s: 0 %s", index, key))
		}
	}
	slices.Sort(real)
	slices.Sort(modelled)
	return strings.Join(real, "\n"), strings.Join(modelled, "\n")
}
