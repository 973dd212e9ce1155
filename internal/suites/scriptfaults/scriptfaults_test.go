// Package scriptfaults makes each command of each script fail.
package scriptfaults

import (
	"crypto/sha1"
	"fmt"
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
//   - The user has no permission: for a command, which is then refused wherever
//     it stands in the script; or for EVALSHA, or for one of KEYS, which is found
//     out before the script starts.
//   - A key is of another type from the start: a string in the place of an index;
//     or a hash in the place of a record that lives, with the record's expiry.
//     (Where no record lives, such a key is one that no index knows, which is
//     damage of another kind.)
//   - The server, or the user's permissions, let a script reach the keys in KEYS
//     and no others.
//   - The n-th command fails, whatever it is. What Redis has no reason to do, a
//     script should survive even so; faultSweep.outcome says how far.
//
// A fault in put.lua's collecting fails no put: see faultSweep.collectsLess.
func TestFaults(t *testing.T) {
	runs := map[string]int{}
	for _, name := range []string{"put", "delete", "sweep"} {
		t.Run(name, func(t *testing.T) {
			cases := corpus.Read(t, name)
			if name == "put" {
				cases = append(cases, collectingCase())
			}
			for _, one := range cases {
				t.Run(one.Name, func(t *testing.T) { sweepCase(t, one, runs) })
			}
		})
	}
	t.Logf("runs with a fault: %v", runs)
	kinds := []string{"memory full", "replica", "no permission", "wrong type", "declared keys only", "failing call", "failing collecting"}
	for _, kind := range kinds {
		if runs[kind] < 40 {
			t.Errorf("%d runs with the fault %q, which is next to none", runs[kind], kind)
		}
	}
}

// collectingCase puts 40 records into an index that holds stale entries, a run of
// which is collected, and others' records.
func collectingCase() corpus.Case {
	add, put, args := "ZADD {t}/keys", "EVALSHA put 41 {t}/keys", ""
	steps := []corpus.Step{}
	for i := range 40 {
		add += fmt.Sprintf(" 0 b:%02d", i)
		put += fmt.Sprintf(" {t}:a:%02d", i)
		args += " 60000 * v"
		if i%8 == 0 {
			steps = append(steps, corpus.Step{Command: fmt.Sprintf("SET {t}:b:%02d v", i)})
		}
	}
	return corpus.Case{Name: "collecting", Steps: append(steps, corpus.Step{Command: add}, corpus.Step{Command: put + args})}
}

// The commands that the scripts may use.
var (
	writingCommands = strings.Fields("PERSIST PEXPIRE SET UNLINK ZADD ZREM")
	readingCommands = strings.Fields("EXISTS GET MGET ZCARD ZRANDMEMBER ZRANGEBYLEX")
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

	// The call without a fault: its commands, how many of them come before put.lua's
	// collecting, its reply and what it leaves.
	commands   []luatest.Call
	collecting int
	reply      any
	after      invariant.State
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
	// It begins with the size of the index, after entries were added.
	s.collecting = s.firstCall("ZCARD", s.firstCall("ZADD", 0))
	s.noNewBreaches("no fault", s.after)
	if _, failed := s.reply.(luatest.Error); !failed {
		s.check("no fault", s.expectedReply(s.before), s.reply)
	}
	return s
}

// firstCall returns the place of the first call of a command, at or after a place.
// If there is none, that is the number of all calls.
func (s *faultSweep) firstCall(command string, from int) int {
	for n, made := range s.commands[from:] {
		if made.Args[0] == command {
			return from + n
		}
	}
	return len(s.commands)
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

	// What frees memory, or takes none, must work when there is none.
	puts := s.firstCall("ZADD", 0) < len(s.commands)
	s.atOnce("memory full", "OOM ", puts,
		func(e *luatest.Engine) { e.SetMemoryFull(true) }, func(e *luatest.Engine) { e.SetMemoryFull(false) })
	s.atOnce("replica", "READONLY ", writes,
		func(e *luatest.Engine) { e.SetReplica(true) }, func(e *luatest.Engine) { e.SetReplica(false) })
	everything := s.user("~* +@all")
	s.atOnce("no permission", "NOPERM ", true, s.user("~* +@all -evalsha"), everything)
	s.atOnce("no permission", "NOPERM ", len(s.call.keys) > 0, s.user("%R~* +@all"), everything)
	isRecord := func(key string) bool { return !isIndexKey(key) }
	s.atOnce("no permission", "NOPERM |ERR The user executing the script can't access",
		slices.ContainsFunc(s.call.keys, isRecord), s.user("~{t}/* ~{u}/* +@all"), everything)

	s.collectsLess("declared keys only",
		func(e *luatest.Engine) { e.SetDeclaredKeysOnly(true) }, func(e *luatest.Engine) { e.SetDeclaredKeysOnly(false) })
	if len(s.call.keys) > 0 && !strings.ContainsAny(strings.Join(s.call.keys, ""), " *?[\\") {
		s.collectsLess("no permission", s.user("~"+strings.Join(s.call.keys, " ~")+" +@all"), everything)
	}

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
		s.withFailingCall(n)
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

// collectsLess is a fault that only put.lua's collecting can meet: the call does
// all that it was asked for and replies as ever, but stale entries may be left.
func (s *faultSweep) collectsLess(kind string, set, lift func(e *luatest.Engine)) {
	s.t.Helper()
	s.runs[kind]++
	e := s.start.Clone()
	set(e)
	reply := e.Do(s.call.args...)
	lift(e)
	left := stateOf(e)
	s.check(kind, s.reply, reply)
	s.check(kind, s.after.WithoutStale(), left.WithoutStale())
	stale := s.before.Stale()
	for entry := range left.Stale() {
		if _, old := stale[entry]; !old {
			s.t.Errorf("%s: stale and new: %s", kind, entry)
		}
	}
	s.again(kind, e, left)
}

func (s *faultSweep) withoutPermission(command string) {
	kind := "no permission"
	deny, everything := s.user("~* +@all -"+strings.ToLower(command)), s.user("~* +@all")
	if s.firstCall(command, 0) >= s.collecting {
		s.collectsLess(kind, deny, everything)
		return
	}
	s.runs[kind]++
	e := s.start.Clone()
	deny(e)
	reply := e.Do(s.call.args...)
	everything(e)
	kind += " for " + command
	// Of the script itself, or of the server.
	s.checkError(kind, "NOPERM "+s.call.script+": |ERR The user executing the script can't run this command", reply)
	left := stateOf(e)
	s.check(kind, s.before, left)
	s.again(kind, e, left)
}

// withFailingCall has the call after n others fail.
func (s *faultSweep) withFailingCall(n int) {
	fail := func(e *luatest.Engine) { e.FailCall(n+1, "ERR out of luck") }
	if n >= s.collecting {
		s.collectsLess("failing collecting", fail, func(*luatest.Engine) {})
		return
	}
	kind := "failing call"
	s.runs[kind]++
	e := s.start.Clone()
	fail(e)
	reply := e.Do(s.call.args...)
	kind += fmt.Sprintf(" %d, %q", n+1, s.commands[n].Args)
	left := stateOf(e)
	s.checkError(kind, "ERR out of luck", reply)
	s.outcome(kind, left)
	s.again(kind, e, left)
}

func (s *faultSweep) withForeignKey(key string) {
	old, exists := s.before[key]
	isIndex := key == s.call.keys[0]
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
// the call leaves it; each live one is in the index; and an index entry without a
// record is new only for a record that was to be put or deleted.
func (s *faultSweep) outcome(kind string, left invariant.State) {
	s.t.Helper()
	named := func(key string) bool { return slices.Contains(s.call.keys, key) }
	for key := range invariant.Keys(s.before, left, s.after) {
		v := left[key]
		if key != s.call.keys[0] && !cmp.Equal(v, s.before[key]) && !(named(key) && cmp.Equal(v, s.after[key])) {
			s.t.Errorf("%s: %s is %+v, and was %+v", kind, key, v, s.before[key])
		}
	}
	s.noNewBreaches(kind, left)

	makesStale := s.call.script == "put" || s.call.script == "delete"
	stale := s.before.Stale()
	for entry, key := range left.Stale() {
		if _, old := stale[entry]; !old && !(makesStale && named(key)) {
			s.t.Errorf("%s: stale and new: %s", kind, entry)
		}
	}
	others := func(state invariant.State) map[string]bool {
		found := map[string]bool{}
		for member := range state[s.call.keys[0]].Scores {
			if key := strings.TrimSuffix(s.call.keys[0], "/keys") + ":" + member; !named(key) {
				found[key] = true
			}
		}
		return found
	}
	s.check(kind+": the entries of other records", others(s.before), others(left))
}

// noNewBreaches checks that the invariant holds as well as it did before.
func (s *faultSweep) noNewBreaches(kind string, left invariant.State) {
	s.t.Helper()
	known := s.before.Breaches()
	for breach := range left.Breaches() {
		if _, old := known[breach]; !old {
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
//   - The index may have grown at the first call, and put.lua collects no more: then
//     what was stale before is still there.
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
	staleBefore, staleAfter := s.before.Stale(), s.after.Stale()
	for entry := range after.Stale() {
		_, before := staleBefore[entry]
		if _, known := staleAfter[entry]; !known && !before {
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
	records := s.call.keys[1:]
	switch s.call.script {
	case "put":
		done := 0
		for i, key := range records {
			record, live := before[key]
			action, condition := s.call.argv[3*i], s.call.argv[3*i+1]
			digest := fmt.Sprintf("%x", sha1.Sum([]byte(record.Text)))
			fails := condition[0] == '-' && live || condition[0] == '+' && !live ||
				condition[0] == '=' && (record.Kind != "string" || record.Text != condition[1:]) ||
				condition[0] == '#' && (record.Kind != "string" || digest != condition[1:])
			if fails || action == "keep" && !live {
				return int64(-i - 1)
			}
			takesLive := action == "delete" || strings.HasPrefix(action, "touch ")
			if action != "check" && (live || !takesLive) && !isLease(key) {
				done++
			}
		}
		return int64(done)
	case "delete":
		if s.call.argv[0] == "count" {
			counted := slices.DeleteFunc(slices.Clone(records), isLease)
			return int64(countLive(before, slices.Compact(slices.Sorted(slices.Values(counted)))))
		}
		values := make([]any, len(records))
		for i, key := range records {
			if before[key].Kind == "string" {
				values[i] = before[key].Text
			}
		}
		return values
	}
	// sweep: the suspects that are in the index and have no record.
	dropped := map[string]bool{}
	for _, key := range records {
		_, member, _ := strings.Cut(key, "}:")
		_, live := before[key]
		if _, indexed := before[s.call.keys[0]].Scores[member]; indexed && !live {
			dropped[member] = true
		}
	}
	return int64(len(dropped))
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

func isLease(key string) bool { return strings.Contains(key, "}:!") }

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
