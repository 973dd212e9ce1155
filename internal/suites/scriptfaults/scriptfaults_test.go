// Package scriptfaults makes each command of each script fail.
package scriptfaults

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/luatest"
)

// TestFaults makes every call of a writing script in the corpus fail in every
// way that it can, at every command that it runs, and holds what is left
// against the invariant; then it makes the call again without the fault, which
// must end as if nothing had happened. The ways are those of Redis:
//
//   - Memory is full: decided when the script starts. Commands that may need
//     memory are refused until the first write has passed, and none from then on.
//   - A replica refuses every write.
//   - The user has no permission, for a command, which is then refused wherever
//     it stands in the script; or for EVALSHA, or for one of KEYS, which is found
//     out before the script starts.
//   - A key is of another type from the start: a string in the place of an index;
//     or a hash in the place of a record that lives, with the record's expiry.
//     (Where no record lives, such a key is one that no index knows, which is
//     damage of another kind.)
//   - The n-th command fails, whatever it is. What Redis has no reason to do, a
//     script should survive even so; faultSweep.outcome says how far.
func TestFaults(t *testing.T) {
	runs := map[string]int{}
	for _, name := range []string{"put", "delete", "touch", "sweep"} {
		t.Run(name, func(t *testing.T) {
			for _, one := range corpus.Read(t, name) {
				t.Run(one.Name, func(t *testing.T) { sweepCase(t, one, runs) })
			}
		})
	}
	t.Logf("runs with a fault: %v", runs)
	for _, kind := range []string{"memory full", "replica", "no permission", "wrong type", "failing call"} {
		if runs[kind] < 40 {
			t.Errorf("%d runs with the fault %q, which is next to none", runs[kind], kind)
		}
	}
}

// The commands that the scripts may use.
var (
	writingCommands = strings.Fields("PERSIST PEXPIREAT SET UNLINK ZADD ZREM")
	readingCommands = strings.Fields("EXISTS GET MGET PTTL TIME ZCARD ZCOUNT ZRANGEBYSCORE ZSCORE")
)

// sweptCall is one EVALSHA of the corpus, taken apart.
type sweptCall struct {
	script     string
	args       []string // of EVALSHA, its name included
	keys, argv []string
}

// sweepCase runs a case, and before each call of a writing script sweeps it.
func sweepCase(t *testing.T, one corpus.Case, runs map[string]int) {
	engine := luatest.New()
	now := engine.Now().UnixMilli()
	client := engine.Client()
	defer engine.Close()
	defer client.Close()
	for _, step := range one.Steps {
		var args []string
		for _, word := range corpus.Words(t, step.Command, now) {
			args = append(args, word.(string))
		}
		switch {
		case args[0] == "MAXMEMORY": // one of the faults, here
			continue
		case args[0] == "EVALSHA" && args[1] != "match":
			call := sweptCall{script: args[1], args: args}
			args[1] = corpus.Load(t, client, call.script)
			n, err := strconv.Atoi(args[2])
			backend.Must(t, err)
			call.keys, call.argv = args[3:3+n], args[3+n:]
			newFaultSweep(t, engine, call, runs).all()
		}
		engine.Do(args...)
	}
}

// faultSweep is one call in one state of the keyspace.
type faultSweep struct {
	t      *testing.T
	call   sweptCall
	start  *luatest.Engine
	before invariant.State
	runs   map[string]int

	// The call without a fault: its commands, its reply and what it leaves.
	commands []luatest.Call
	reply    any
	after    invariant.State
	// between has what a record is on the way that comes more than once.
	between []invariant.State
}

func newFaultSweep(t *testing.T, engine *luatest.Engine, call sweptCall, runs map[string]int) *faultSweep {
	s := &faultSweep{t: t, call: call, start: engine.Clone(), before: stateOf(engine), runs: runs}
	clean := s.start.Clone()
	s.reply = clean.Do(call.args...)
	s.after = stateOf(clean)
	for _, made := range clean.Trace() {
		if made.Script != "" {
			s.commands = append(s.commands, made)
		}
	}
	s.noNewBreaches("no fault", s.before, s.after, func(string) bool { return false })
	if _, failed := s.reply.(luatest.Error); !failed {
		s.between = s.prefixes()
		if diff := cmp.Diff(s.expectedReply(s.before), s.reply); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", call.args, diff)
		}
	}
	return s
}

// prefixes returns what put and touch leave when they are given the first of
// their records only, for any number of them.
func (s *faultSweep) prefixes() []invariant.State {
	if s.call.script != "put" && s.call.script != "touch" {
		return nil
	}
	var left []invariant.State
	records := len(s.call.keys) - 2
	for n := 1; n < records; n++ {
		e := s.start.Clone()
		args := append(s.call.args[:2:2], strconv.Itoa(n+2))
		args = append(args, s.call.keys[:n+2]...)
		e.Do(append(args, s.call.argv[:n*len(s.call.argv)/records]...)...)
		left = append(left, stateOf(e))
	}
	return left
}

func (s *faultSweep) all() {
	writes := false
	for _, made := range s.commands {
		switch command := made.Args[0]; {
		case slices.Contains(writingCommands, command):
			writes = true
		case !slices.Contains(readingCommands, command):
			s.t.Fatalf("%s calls %s, of which this test does not know whether it writes", s.call.script, command)
		}
	}

	// What frees memory must work when there is none.
	growing := s.call.script == "put" || s.call.script == "touch"
	s.atOnce("memory full", "OOM ", growing && writes,
		func(e *luatest.Engine) { e.SetMemoryFull(true) }, func(e *luatest.Engine) { e.SetMemoryFull(false) })
	s.atOnce("replica", "READONLY ", writes,
		func(e *luatest.Engine) { e.SetReplica(true) }, func(e *luatest.Engine) { e.SetReplica(false) })
	everything := s.user("~* +@all")
	s.atOnce("no permission", "NOPERM ", true, s.user("~* +@all -evalsha"), everything)
	s.atOnce("no permission", "NOPERM ", len(s.call.keys) > 0, s.user("%R~* +@all"), everything)
	// Of what is in KEYS, or of a record that the script finds in an index.
	isRecord := func(key string) bool { return !isIndexKey(key) }
	needsRecord := slices.ContainsFunc(s.call.keys, isRecord) ||
		slices.ContainsFunc(s.commands, func(made luatest.Call) bool { return slices.ContainsFunc(made.Keys(), isRecord) })
	s.atOnce("no permission", "NOPERM |ERR The user executing the script can't access", needsRecord,
		s.user("~{t}/* ~{u}/* +@all"), everything)

	denied := map[string]bool{}
	foreign := map[string]bool{}
	for n, made := range s.commands {
		if !denied[made.Args[0]] {
			denied[made.Args[0]] = true
			s.withoutPermission(made.Args[0])
		}
		for _, key := range made.Keys() {
			if !foreign[key] {
				foreign[key] = true
				s.withForeignKey(key)
			}
		}
		s.withFailingCall(n + 1)
	}
}

func (s *faultSweep) user(rules string) func(e *luatest.Engine) {
	return func(e *luatest.Engine) { backend.Must(s.t, e.SetUser(rules)) }
}

// atOnce is a fault that shows before anything is written, or not at all.
func (s *faultSweep) atOnce(kind, code string, refused bool, set, lift func(e *luatest.Engine)) {
	s.runs[kind]++
	e := s.start.Clone()
	set(e)
	reply := e.Do(s.call.args...)
	lift(e)
	left := stateOf(e)
	if !refused {
		s.check(kind, s.reply, reply)
		s.check(kind, s.after, left)
		return
	}
	s.checkError(kind, code, reply)
	s.check(kind, s.before, left)
	s.again(kind, e, left)
}

func (s *faultSweep) withoutPermission(command string) {
	kind := "no permission"
	s.runs[kind]++
	e := s.start.Clone()
	s.user("~* +@all -" + strings.ToLower(command))(e)
	reply := e.Do(s.call.args...)
	s.user("~* +@all")(e)
	kind += " for " + command
	// Of the script itself, or of the server.
	s.checkError(kind, "NOPERM "+s.call.script+": |ERR The user executing the script can't run this command", reply)
	left := stateOf(e)
	s.check(kind, s.before, left)
	s.again(kind, e, left)
}

func (s *faultSweep) withFailingCall(n int) {
	kind := "failing call"
	s.runs[kind]++
	e := s.start.Clone()
	e.FailCall(n, "ERR out of luck")
	reply := e.Do(s.call.args...)
	kind += fmt.Sprintf(" %d, %q", n, s.commands[n-1].Args)
	left := stateOf(e)
	if s.call.script == "put" && s.commands[n-1].Args[0] == "EXISTS" && !slices.Contains(s.call.keys, s.commands[n-1].Args[1]) {
		// What a put cannot look up it does not purge, and it is written all the same.
		s.check(kind, s.reply, reply)
		s.check(kind, s.after.WithoutStale(), left.WithoutStale())
	} else {
		s.checkError(kind, "ERR out of luck", reply)
		s.outcome(kind, left)
	}
	s.again(kind, e, left)
}

func (s *faultSweep) withForeignKey(key string) {
	old, exists := s.before[key]
	isIndex := slices.Contains(s.call.keys[:2], key)
	if !isIndex && old.Kind != "string" || isIndex && exists && old.Kind != "zset" {
		return
	}
	s.runs["wrong type"]++
	kind := "wrong type of " + key
	e := s.start.Clone()
	e.Do("DEL", key)
	if isIndex {
		e.Do("SET", key, "foreign")
	} else {
		e.Do("HSET", key, "foreign", "foreign")
		if old.Expires != "-1" {
			e.Do("PEXPIREAT", key, old.Expires)
		}
	}
	before := stateOf(e)
	reply := e.Do(s.call.args...)
	left := stateOf(e)
	restore := func() invariant.State {
		if left[key].Text == before[key].Text {
			restoreKey(e, key, old, left[key].Expires)
		}
		return stateOf(e)
	}

	// A record may be of any type for all commands but GET, which = calls before
	// anything is written; MGET has no value of it, and SET writes over it.
	if _, failed := reply.(luatest.Error); !isIndex && !failed {
		s.check(kind, s.expectedReply(before), reply)
		s.check(kind, s.after, restore())
		return
	}
	s.checkError(kind, "WRONGTYPE ", reply)
	s.check(kind, before, left)
	restored := restore()
	s.check(kind, s.before, restored)
	s.again(kind, e, restored)
}

// restoreKey makes key what it was, with the given expiry.
func restoreKey(e *luatest.Engine, key string, was invariant.Value, expires string) {
	e.Do("DEL", key)
	switch was.Kind {
	case "string":
		e.Do("SET", key, was.Text)
	case "zset":
		for member, score := range was.Scores {
			e.Do("ZADD", key, score, member)
		}
	}
	if was.Kind != "" && expires != "-1" {
		e.Do("PEXPIREAT", key, expires)
	}
}

// outcome checks what is left where any command at all may have failed: nothing
// but what the call was about is changed; each record is as it was before or as
// the call leaves it (one that comes twice may have its first value or expiry);
// each is in the indexes, exactly; and an index entry without a record is new
// only for a record that was to be put or deleted.
//
// The invariant cannot hold between the expiry index and the record: a record of
// put or touch that has its new score and not yet its new expiry is let pass.
func (s *faultSweep) outcome(kind string, left invariant.State) {
	s.t.Helper()
	before := s.before
	for key := range invariant.Keys(before, left, s.after) {
		if isIndexKey(key) && slices.Contains(s.call.keys, key) || cmp.Equal(left[key], before[key]) ||
			slices.Contains(s.call.keys, key) && s.isOnTheWay(key, left[key]) {
			continue
		}
		s.t.Errorf("%s: %s is %+v, and was %+v", kind, key, left[key], before[key])
	}

	mayHaveNewScore := func(key string) bool {
		puts := s.call.script == "put" || s.call.script == "touch"
		return puts && slices.Contains(s.call.keys, key) && !cmp.Equal(left[key], s.after[key])
	}
	s.noNewBreaches(kind, before, left, mayHaveNewScore)

	makesStale := s.call.script == "put" || s.call.script == "delete"
	stale := before.Stale()
	for entry, key := range left.Stale() {
		if _, old := stale[entry]; !old && !(makesStale && slices.Contains(s.call.keys, key)) {
			s.t.Errorf("%s: stale and new: %s", kind, entry)
		}
	}
	for _, index := range s.call.keys[:2] {
		for member, score := range left[index].Scores {
			key := strings.TrimSuffix(strings.TrimSuffix(index, "/keys"), "/expiry") + ":" + member
			if !slices.Contains(s.call.keys, key) && before[index].Scores[member] != score {
				s.t.Errorf("%s: %s has %s at %s, and had it at %q", kind, index, member, score, before[index].Scores[member])
			}
		}
	}
}

// isOnTheWay reports whether a record may be v when the call stops half way.
func (s *faultSweep) isOnTheWay(key string, v invariant.Value) bool {
	first, last := slices.Index(s.call.keys, key), len(s.call.keys)-1
	for last >= 0 && s.call.keys[last] != key {
		last--
	}
	if first == last {
		return cmp.Equal(v, s.after[key])
	}
	var text, expires bool
	for _, known := range append([]invariant.State{s.before, s.after}, s.between...) {
		text = text || known[key].Kind == v.Kind && known[key].Text == v.Text
		expires = expires || known[key].Expires == v.Expires
	}
	return text && expires
}

// noNewBreaches checks that the indexes are as exact as they were before, but
// for the scores of records that may have new ones.
func (s *faultSweep) noNewBreaches(kind string, before, left invariant.State, mayHaveNewScore func(key string) bool) {
	s.t.Helper()
	known := before.Breaches()
	for breach, key := range left.Breaches() {
		if _, old := known[breach]; !old && !(strings.HasPrefix(breach, "expiry index") && mayHaveNewScore(key)) {
			s.t.Errorf("%q, %s: the invariant is broken: %s", s.call.args, kind, breach)
		}
	}
}

// again makes the call once more, on what the failed one left. It must end as
// if that had not been, but for three things that follow from what was done:
//
//   - The reply is that of a call in the state that was left. So delete counts
//     the records that were still there, and has no value of the others; sweep
//     counts the entries that were; and put says of a record that it has put
//     already that the condition, such as absent, does not hold.
//   - Where a condition of put fails, the state stays as it is.
//   - As put and sweep purge a bounded number of stale entries each time, some
//     more may be gone.
func (s *faultSweep) again(kind string, e *luatest.Engine, left invariant.State) {
	s.t.Helper()
	kind += ", then again"
	reply := e.Do(s.call.args...)
	after := stateOf(e)
	if cmp.Equal(left, s.before) {
		s.check(kind, s.reply, reply)
		s.check(kind, s.after, after)
		return
	}
	if _, failed := s.reply.(luatest.Error); failed {
		s.check(kind, s.reply, reply)
	} else {
		s.check(kind, s.expectedReply(left), reply)
	}
	if refused, ok := reply.(int64); ok && refused < 0 {
		s.check(kind, left, after)
		return
	}
	s.check(kind, s.after.WithoutStale(), after.WithoutStale())
	staleBefore := s.after.Stale()
	for entry := range after.Stale() {
		if _, old := staleBefore[entry]; !old {
			s.t.Errorf("%s: stale, and not without the fault: %s", kind, entry)
		}
	}
}

func (s *faultSweep) check(kind string, want, got any) {
	s.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("%q, %s: (-want +got)\n%s", s.call.args, kind, diff)
	}
}

// checkError expects an error that begins with one of codes, which | separates.
func (s *faultSweep) checkError(kind, codes string, reply any) {
	s.t.Helper()
	failed, ok := reply.(luatest.Error)
	for _, code := range strings.Split(codes, "|") {
		if ok && strings.HasPrefix(string(failed), code) {
			return
		}
	}
	s.t.Errorf("%q, %s: %v, want an error %s", s.call.args, kind, reply, codes)
}

// expectedReply is what the call, if it does not fail, replies in a state.
func (s *faultSweep) expectedReply(before invariant.State) any {
	records := s.call.keys[2:]
	switch s.call.script {
	case "put":
		for i, key := range records {
			record, live := before[key]
			condition := s.call.argv[3*i+2]
			equal := record.Kind == "string" && record.Text == condition[1:]
			if condition[0] == '-' && live || condition[0] == '+' && !live || condition[0] == '=' && !equal {
				return int64(-i - 1)
			}
		}
		return int64(len(records))
	case "touch":
		return int64(countLive(before, records))
	case "delete":
		if s.call.argv[0] == "count" {
			return int64(countLive(before, slices.Compact(slices.Sorted(slices.Values(records)))))
		}
		values := make([]any, len(records))
		for i, key := range records {
			if before[key].Kind == "string" {
				values[i] = before[key].Text
			}
		}
		return values
	}
	// sweep: what has expired and has no record, by age; then suspects that are gone and not among that.
	order, expiry := before[s.call.keys[0]].Scores, before[s.call.keys[1]].Scores
	limit, err := strconv.Atoi(s.call.argv[0])
	backend.Must(s.t, err)
	at := func(member string) int64 {
		ms, err := strconv.ParseInt(expiry[member], 10, 64)
		backend.Must(s.t, err)
		return ms
	}
	byAge := slices.SortedFunc(maps.Keys(expiry), func(a, b string) int { return int(at(a) - at(b)) })
	now := s.start.Now().UnixMilli()
	expired := slices.DeleteFunc(byAge, func(member string) bool { return at(member) >= now })
	tag := strings.TrimSuffix(s.call.keys[0], "/keys")
	expired = slices.DeleteFunc(expired[:min(limit, len(expired))], func(member string) bool {
		_, live := before[tag+":"+member]
		return live
	})
	dropped := map[string]bool{}
	for _, key := range records {
		_, member, _ := strings.Cut(key, "}:")
		_, live := before[key]
		if _, indexed := order[member]; indexed && !live && !slices.Contains(expired, member) {
			dropped[member] = true
		}
	}
	return []any{int64(len(expired)), int64(len(dropped))}
}

func stateOf(e *luatest.Engine) invariant.State {
	s := invariant.State{}
	for _, name := range e.Do("KEYS", "*").([]any) {
		key := name.(string)
		v := invariant.Value{Kind: string(e.Do("TYPE", key).(luatest.Status)), Expires: fmt.Sprint(e.Do("PEXPIRETIME", key))}
		switch v.Kind {
		case "string":
			v.Text = e.Do("GET", key).(string)
		case "hash":
			v.Text = fmt.Sprintf("%q", e.Do("HGETALL", key))
		case "zset":
			v.Scores = map[string]string{}
			pairs := e.Do("ZRANGE", key, "0", "-1", "WITHSCORES").([]any)
			for i := 0; i < len(pairs); i += 2 {
				v.Scores[pairs[i].(string)] = pairs[i+1].(string)
			}
		}
		s[key] = v
	}
	return s
}

func isIndexKey(key string) bool { return strings.Contains(key, "}/") }

// countLive counts the keys that are there.
func countLive(s invariant.State, keys []string) int {
	n := 0
	for _, key := range keys {
		if _, live := s[key]; live {
			n++
		}
	}
	return n
}
