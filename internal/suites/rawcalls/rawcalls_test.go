// Package rawcalls calls the scripts as no client does, with arguments drawn by chance.
package rawcalls

import (
	"bufio"
	"crypto/sha1"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/header"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/internal/resp"
	"github.com/wildkey/wildkey/luatest"
)

var (
	rawSeed   = flag.Uint64("raw-seed", 0, "the seed of TestRawCalls; 0: the time")
	rawRounds = flag.Int("raw-rounds", 60, "how many rounds of 40 calls it has, a third of it on a server")
)

// TestRawCalls gives the scripts what no client sends, over a connection
// that knows nothing of Wildkey, and holds each call against all that the
// scripts promise: see victim.attack.
func TestRawCalls(t *testing.T) {
	seed := *rawSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test -run TestRawCalls ./internal/suites/rawcalls -raw-seed %d", seed)
	attack := func(t *testing.T, v *victim, rounds int) {
		accepted, refused := map[string]int{}, map[string]int{}
		for round := range uint64(rounds) {
			random := caller{rand.New(rand.NewPCG(seed+round, 0))}
			v.populate()
			if v.engine != nil {
				v.engine.SetRandomSeed(seed + round)
			}
			for n := 0; n < 40 && len(v.state) < 200; n++ {
				args := random.call()
				if v.attack(args) {
					accepted[args[1]]++
				} else {
					refused[args[1]]++
				}
			}
			if v.alive(); t.Failed() {
				t.Fatalf("reproduce with: -raw-seed %d -raw-rounds 1", seed+round)
			}
		}
		for _, script := range wildkey.Scripts() {
			if least := max(1, rounds/10); accepted[script.SHA1] < least || refused[script.SHA1] < least {
				t.Errorf("%s.lua: %d calls were accepted, %d refused: the calls are not what they should be",
					script.Name, accepted[script.SHA1], refused[script.SHA1])
			}
		}
	}
	t.Run("engine", func(t *testing.T) { attack(t, newVictim(t, luatest.New(), nil), *rawRounds) })
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		if server.Program.Before(7, 0) {
			t.Skip("this server cannot tell the millisecond at which a record expires, and no change may go unseen")
		}
		attack(t, newVictim(t, nil, server), max(1, *rawRounds/3))
	})
}

// FuzzScripts is the same on calls that the fuzzer makes up: words has a KEYS
// or an ARGV a line.
func FuzzScripts(f *testing.F) {
	scripts := wildkey.Scripts()
	for i, script := range scripts {
		for _, call := range corpus.MalformedCalls()[script.Name] {
			words := slices.Clone(call.Keys)
			for _, arg := range call.Args {
				words = append(words, fmt.Sprint(arg))
			}
			f.Add(uint8(i), strconv.Itoa(len(call.Keys)), strings.Join(words, "\n"))
		}
	}
	populated := newVictim(f, luatest.New(), nil)
	populated.populate()
	f.Fuzz(func(t *testing.T, script uint8, numkeys, words string) {
		v := *populated
		v.t, v.engine = t, populated.engine.Clone()
		defer v.engine.Close()
		digest := scripts[int(script)%len(scripts)].SHA1
		v.attack(append([]string{"EVALSHA", digest, numkeys}, strings.Split(words, "\n")...))
	})
}

// caller makes calls up.
type caller struct{ *rand.Rand }

func pick[T any](c caller, from ...T) T { return from[c.IntN(len(from))] }

// oneIn is true once in n times.
func (c caller) oneIn(n int) bool { return c.IntN(n) == 0 }

func (c caller) call() []string {
	scripts := wildkey.Scripts()
	script := pick(c, append(scripts, corpus.Script("put"), corpus.Script("put"))...)
	keys, argv := c.valid(script.Name)
	numkeys := strconv.Itoa(len(keys))
	for range pick(c, 0, 0, 0, 1, 1, 1, 2, 5) {
		switch c.IntN(7) {
		case 0:
			numkeys = pick(c, strconv.Itoa(len(keys)-1), strconv.Itoa(len(keys)+1), c.number())
		case 1, 2:
			keys = mutate(c, keys, func(int) string { return c.key() })
			numkeys = strconv.Itoa(len(keys))
		default:
			argv = mutate(c, argv, func(place int) string { return c.argument(script.Name, place) })
		}
	}
	return slices.Concat([]string{"EVALSHA", script.SHA1, numkeys}, keys, argv)
}

// mutate changes one place of a list.
func mutate(c caller, list []string, other func(place int) string) []string {
	if len(list) == 0 || c.oneIn(5) {
		return slices.Insert(list, c.IntN(len(list)+1), other(0))
	}
	i, j := c.IntN(len(list)), c.IntN(len(list))
	switch c.IntN(8) {
	case 0:
		list = slices.Delete(list, i, i+1)
	case 1:
		list[i], list[j] = list[j], list[i]
	case 2:
		list[i] = list[j]
	case 3:
		b := []byte(list[i] + "x")
		b[c.IntN(len(b))] = byte(c.IntN(256))
		list[i] = string(b)
	default:
		list[i] = other(i)
	}
	return list
}

// valid returns a call that is well-formed, in most cases.
func (c caller) valid(script string) (keys, argv []string) {
	tag := pick(c, "{t}", "{t}", "{t}", "{t}", "{u}", "{t}{u}", "{f}", "{new}", "{%}", "{\x00\xff\n}",
		"{"+strings.Repeat("n", 300)+"}")
	keys = []string{tag + "/keys"}
	if script == "match" {
		most := func(other string) string { return pick(c, "1", "1", "2", "2", "5", "5", "100", "1000", "99999", other) }
		argv = []string{
			pick(c, wants...), "",
			most(c.number()), most(c.number()), most(pick(c, "1000", "999999999")),
		}
		for range pick(c, 0, 1, 1, 2, 3) {
			argv = append(argv, pick(c, "*", "*", "*", "^u*", "^o*", "^a*", "^*r", "[a<", "[a<v", "=a", "=user", "=4", "="+c.segment(), c.term()))
		}
		if c.oneIn(40) {
			term := pick(c, "*", "=a", "^a*", "[a<b", c.term())
			argv = append(argv, slices.Repeat([]string{term}, pick(c, 200, 2047, 3000, 20_000))...)
		}
		if len(argv) == 5 || argv[0] != "list" && c.oneIn(2) {
			argv = append(argv, "**")
		}
		if c.oneIn(4) {
			argv[1] = c.cursor(argv[5:])
		}
		if c.oneIn(20) {
			keys = append(keys, tag+":a")
		}
		return keys, argv
	}
	n := pick(c, 0, 1, 1, 2, 3, 10, 30)
	if c.oneIn(60) {
		n = pick(c, 500, 1001, 3000)
	}
	same, isSame := c.action(), c.oneIn(3)
	for range n {
		key := tag + pick(c, ":", ":user:4:") + c.segment()
		if c.oneIn(3) || slices.Contains(keys, key) && !c.oneIn(20) {
			key += ":" + strconv.Itoa(c.IntN(1000))
		}
		keys = append(keys, key)
		if script == "put" {
			action, value := c.action(), ""
			if isSame {
				action = same
			}
			if !slices.Contains([]string{"t", "d", "c"}, action[:1]) {
				value = pick(c, "v", "", "\x00\xff\r\n")
			}
			argv = append(argv, action, pick(c, "*", "*", "*", "*", "-", "+", "=v", "=", "#"+sha1Of("v")), value)
		}
	}
	if script == "delete" {
		argv = []string{pick(c, "count", "values")}
	}
	return keys, argv
}

var wants = []string{"values", "records", "keys", "count", "list", "index"}

func sha1Of(text string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(text))) }

// segment is of a name that populate puts, in most cases.
func (c caller) segment() string {
	return pick(c, "a", "b", "4", "40", "user", "gone", "h", "%00%FF", "raw", "old3")
}

func (c caller) ttl() string {
	return pick(c, "never", "never", "1", "3600000", "999999999999999", strconv.Itoa(1+c.IntN(1e9)))
}

func (c caller) action() string {
	return pick(c, c.ttl(), c.ttl(), "keep", "keep", "touch "+c.ttl(), "delete", "check")
}

func (c caller) number() string {
	if c.oneIn(3) {
		return pick(c, "1", "9") + strings.Repeat(pick(c, "0", "9"), c.IntN(20))
	}
	return pick(c, "", "0", "00", "01", "1", "-1", "-0", "+1", " 1", "1 ", "1.0", "1.5", "1e3", "1e309", "-1e309",
		"nan", "inf", "-inf", "0x10", "1_000", "99999", "100000", "1000000000", "1000000000000000", "9007199254740993",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551616", "1\x00", "1\n",
		"\xd9\xa1", "keep", "KEEP", strings.Repeat("9", 400), strings.Repeat("0", 400)+"1")
}

func (c caller) key() string {
	tag := pick(c, "{t}", "{t}", "{t}", "{u}", "{T}", "{t}{u}", "{{t}}", "{t", "t}", "{}", "", "{t}t", "x{t}")
	return tag + pick(c, "/keys", "/index", ":", ":a", ":user:4", ":!a", ":!user:4", ":!", ":!!a", "::a", ":a:", ":a::b", ":%", ":%4", ":%41", ":%c3",
		":%C3", ":%zz", ":%00", ":{u}", ":*", ":a b", ":\x00", ":\xff", ":a\r\n", "/", "/keys:", "/keys/keys", "a", "",
		":"+strings.Repeat("k", 4096), ":"+strings.Repeat("k", 4097), ":"+strings.Repeat("k:", 2047)+"k", c.binary())
}

// argument is one for a place in ARGV, in most cases.
func (c caller) argument(script string, place int) string {
	if c.oneIn(8) {
		return c.binary()
	}
	switch {
	case script == "match" && place == 0:
		return pick(c, append(wants, "VALUES", "lists", "")...)
	case script == "match" && place == 1:
		return c.cursor(nil)
	case script == "match" && place > 4:
		return c.term()
	case script == "put" && place%3 == 0 && c.oneIn(2):
		return pick(c, c.action(), "touch "+c.number(), "touch", "touch ", "touch keep", "NEVER", "Delete", "delete ", "check 1",
			"put", "keep 1", "0", "*")
	case script == "put" && place%3 == 1:
		return c.condition()
	case script == "put" && place%3 == 2:
		return pick(c, "", "v", "\x00", strings.Repeat("v", 100_000))
	case script == "delete":
		return pick(c, "count", "values", "COUNT", "count ", "", c.number())
	}
	return pick(c, c.number(), c.number(), c.ttl())
}

func (c caller) condition() string {
	return pick(c, "*", "-", "+", "=", "=v", "", "**", "*\x00", "-x", "+\n", "?", "==", " *", "=\x00\xff",
		"="+strings.Repeat("v", 10_000), "#", "#"+sha1Of("v"), "#"+sha1Of(""), "#"+strings.ToUpper(sha1Of("v")),
		"#"+sha1Of("v")+"0", "#"+sha1Of("v")[1:], "#"+sha1Of("v")[1:]+"\xff", sha1Of("v"))
}

func (c caller) term() string {
	if c.oneIn(3) {
		return pick(c, "=", "^", "[", "*", "", "**") + c.binary() + pick(c, "", "*", "<")
	}
	return pick(c, "*", "**", "***", "", "=", "^", "=a", "^a", "^a*", "^*", "[<", "[a<", "[<a", "[b<a", "a", "=%", "^%", "=%41", "=%%", "=%C3%A9", "=%c3", "=.",
		"=.-", "^-", "=[a-z]", "=%a", "=%b()", "=%f", "=(", "=()", "=a:b", "=^", "=$", "^$", "=a*", "=a\x00", "=\x00",
		"= a", "={t}", "^"+strings.Repeat("a", 4096), "="+strings.Repeat("a", 4097), "="+strings.Repeat("%00", 1365))
}

func (c caller) cursor(terms []string) string {
	place := pick(c, "", "a", "a:", "a;", "b", "user", "user:4", "user:4:a", "user;", "\xff", "\xff\xff", "\x00",
		strings.Repeat("a", 9000), c.binary())
	if len(terms) > 0 && c.oneIn(2) {
		place, _, _ = strings.Cut(strings.TrimLeft(terms[0], "=^[*<"), "*")
		place += pick(c, "", ":", ":4", "\xff", "\xff\xff", "\xfe", ";", "zz")
	}
	return pick(c, "[", "(", "[", "(", ">", "", "-", "+") + place
}

func (c caller) binary() string {
	b := make([]byte, c.IntN(12))
	for i := range b {
		b[i] = pick(c, byte(c.IntN(256)), "%:{}*^=-+0a\x00"[c.IntN(12)])
	}
	return string(b)
}

// victim is a server that the calls are made to.
type victim struct {
	t        testing.TB
	engine   *luatest.Engine // or else a server, through conn
	conn     *resp.Conn
	snapshot string // the digest of invariant.Snapshot
	state    invariant.State
	runID    any
	names    map[string]string   // of the scripts, by digest
	commands map[string][]string // that the scripts may call
	budgets  *backend.Backend    // works out the COST lines
}

func newVictim(t testing.TB, engine *luatest.Engine, server *redisserver.Server) *victim {
	t.Helper()
	calculator := luatest.New()
	v := &victim{
		t: t, engine: engine, names: map[string]string{}, commands: map[string][]string{},
		budgets: &backend.Backend{Client: calculator.Client(), Engine: calculator},
	}
	t.Cleanup(func() { v.budgets.Client.Close(); calculator.Close() })
	if server == nil {
		t.Cleanup(func() { engine.Close() })
	} else {
		var err error
		v.conn, err = resp.Dial(server.Addr)
		backend.Must(t, err)
		t.Cleanup(func() { v.conn.Close() })
		v.runID = v.serverID()
	}
	for _, script := range wildkey.Scripts() {
		v.names[script.SHA1] = script.Name
		v.commands[script.Name] = strings.Fields(header.Text(script, "COMMANDS"))
		v.do([]string{"SCRIPT", "LOAD", script.Source})
	}
	v.snapshot = v.do([]string{"SCRIPT", "LOAD", invariant.Snapshot})[0].(string)
	return v
}

// do sends commands, all at once, and returns the replies as luatest has them.
func (v *victim) do(commands ...[]string) []any {
	v.t.Helper()
	replies := make([]any, len(commands))
	if v.engine != nil {
		for i, args := range commands {
			replies[i] = v.engine.Do(args...)
		}
		return replies
	}
	backend.Must(v.t, v.conn.SetDeadline(time.Now().Add(time.Minute)))
	raw, err := v.conn.Do(commands...)
	if err != nil {
		v.t.Fatalf("the server has gone, or hangs: %v", err)
	}
	for i, text := range raw {
		replies[i] = readRawReply(v.t, bufio.NewReader(strings.NewReader(text)))
	}
	return replies
}

func readRawReply(t testing.TB, in *bufio.Reader) any {
	t.Helper()
	line, err := in.ReadString('\n')
	backend.Must(t, err)
	text := strings.TrimSuffix(line[1:], "\r\n")
	n, _ := strconv.Atoi(text)
	switch line[0] {
	case '+':
		return luatest.Status(text)
	case '-':
		return luatest.Error(text)
	case ':':
		return int64(n)
	case '*':
		items := make([]any, n)
		for i := range items {
			items[i] = readRawReply(t, in)
		}
		return items
	}
	if n < 0 {
		return nil
	}
	body := make([]byte, n+2)
	_, err = io.ReadFull(in, body)
	backend.Must(t, err)
	return string(body[:n])
}

func (v *victim) serverID() any {
	v.t.Helper()
	info := v.do([]string{"INFO", "server"})[0].(string)
	return regexp.MustCompile(`run_id:\w+`).FindString(info)
}

// alive expects that the process is the one that it was.
func (v *victim) alive() {
	v.t.Helper()
	if reply := v.do([]string{"PING"})[0]; reply != luatest.Status("PONG") {
		v.t.Errorf("PING: %v", reply)
	}
	if v.engine == nil && v.serverID() != v.runID {
		v.t.Error("the server has crashed, and is another process now")
	}
}

// populate puts records, garbage and what a script must not touch.
func (v *victim) populate() {
	v.t.Helper()
	digest := corpus.Script("put").SHA1
	commands := [][]string{{"FLUSHALL"}}
	add := func(args ...string) { commands = append(commands, args) }
	for _, tag := range []string{"{t}", "{u}", "{T}", "{f}"} {
		for i, name := range strings.Fields("a b 4 user:4 user:4:a user:4:b:c user:40:a user %00%FF gone") {
			ttl := []string{"never", "3600000"}[i%2]
			add("EVALSHA", digest, "2", tag+"/keys", tag+":"+name, ttl, "*", "v")
		}
		old := []string{"ZADD", tag + "/keys"}
		for i := range 150 {
			old = append(old, "0", fmt.Sprintf("old%d", i))
		}
		commands = append(commands, old)
		add("DEL", tag+":gone")
		add("HSET", tag+":h", "field", "value")
		add("SET", tag+":raw", "no index knows it")
	}
	for _, other := range []string{"a", "t:a", "{t}t:a", "{t", "{}:a", "{t}", "x{t}:a", "{{t}}:a"} {
		add("SET", other, "canary")
	}
	add("ZADD", "{t}{u}/keys", "0", "a")
	add("SET", "{f}/keys", "foreign")
	for i, reply := range v.do(commands...) {
		if failed, ok := reply.(luatest.Error); ok {
			v.t.Fatalf("%q: %v", commands[i], failed)
		}
	}
	v.state, _ = v.stateOf(v.do([]string{"EVALSHA", v.snapshot, "0"})[0])
}

func (v *victim) stateOf(snapshot any) (s invariant.State, now int64) {
	v.t.Helper()
	s, now, err := invariant.ParseSnapshot(snapshot)
	backend.Must(v.t, err)
	return s, now
}

// withoutExpiring returns the state but for what expires by itself at now, or about then.
func withoutExpiring(s invariant.State, now int64) invariant.State {
	lasting := maps.Clone(s)
	maps.DeleteFunc(lasting, func(_ string, v invariant.Value) bool {
		ms, err := strconv.ParseInt(v.Expires, 10, 64)
		return err != nil || ms >= 0 && ms <= now+5
	})
	return lasting
}

var callsOf = regexp.MustCompile(`(?m)^cmdstat_(\w+):calls=(\d+)`)

// run makes a call and returns the reply, the commands that the script called,
// how often, and the state and the time after it.
func (v *victim) run(args []string) (reply any, made map[string]int, after invariant.State, now int64) {
	v.t.Helper()
	made = map[string]int{}
	snapshot := []string{"EVALSHA", v.snapshot, "0"}
	if v.engine != nil {
		v.engine.ResetTrace()
		reply = v.do(args)[0]
		for _, call := range v.engine.Trace() {
			if call.Script != "" {
				made[call.Args[0]]++
			}
		}
		after, now = v.stateOf(v.do(snapshot)[0])
		return reply, made, after, now
	}
	replies := v.do([]string{"CONFIG", "RESETSTAT"}, args, []string{"INFO", "commandstats"}, snapshot)
	for _, stat := range callsOf.FindAllStringSubmatch(replies[2].(string), -1) {
		// Redis 6.2 counts the CONFIG from above too.
		if name := strings.ToUpper(stat[1]); name != "EVALSHA" && name != "CONFIG" {
			made[name], _ = strconv.Atoi(stat[2])
		}
	}
	after, now = v.stateOf(replies[3])
	return replies[1], made, after, now
}

// attack makes one call of a script and expects, whatever its arguments are:
//
//   - It is refused, before the script calls anything, if and only if it is not
//     what the header of the script asks for; else it replies what that says.
//   - An error changes nothing. Nothing but what KEYS names is ever changed, and
//     no record becomes one that the indexes do not know.
//   - The script calls what its COMMANDS line says, as often as its COST line
//     says; and a page stays within its bounds.
//
// It returns whether the call was accepted.
func (v *victim) attack(args []string) (accepted bool) {
	v.t.Helper()
	start := v.state
	reply, made, after, now := v.run(args)
	v.state = after
	before, after := withoutExpiring(start, now), withoutExpiring(after, now)
	script := v.names[args[1]]
	found := func(format string, a ...any) {
		v.t.Helper()
		v.t.Errorf("%s %.1000q\nreplies %.300q: %s", script, args[2:], fmt.Sprint(reply), fmt.Sprintf(format, a...))
	}

	keys, argv, refusal := evalshaArguments(args[2:])
	changed := map[string]bool{}
	for key := range invariant.Keys(before, after) {
		if !cmp.Equal(before[key], after[key]) {
			changed[key] = true
		}
	}
	total := 0
	for name, n := range made {
		if total += n; !slices.Contains(v.commands[script], name) {
			found("it calls %s", name)
		}
	}

	failed, isError := reply.(luatest.Error)
	text := corpus.ErrorText(failed)
	switch {
	case refusal == "" && !wellFormed(script, keys, argv):
		refusal = "BADARG " + script + ": "
	case refusal == "" && hasForeign(start, keys):
		refusal = "WRONGTYPE "
	}
	switch {
	case isError && (refusal == "" || !strings.HasPrefix(text, refusal)):
		found("want no error but %q", refusal)
	case isError && len(changed) > 0:
		found("an error, and yet %v changed", slices.Collect(maps.Keys(changed)))
	case isError && total > 0 && !strings.HasPrefix(refusal, "WRONGTYPE"):
		found("refused after %v", made)
	case isError:
		return false
	case refusal != "" && refusal != "WRONGTYPE ": // it may not come to what is foreign
		found("want an error, %q", refusal)
		return true
	}

	for key := range changed {
		if !slices.Contains(keys, key) || script == "match" {
			found("%s changed, from %+v to %+v", key, before[key], after[key])
		}
	}
	known, left := before.Stale(), after.Stale()
	for entry, key := range left {
		// What is put or touched for a millisecond may be gone by now.
		named := script == "put" && slices.Contains(keys, key)
		if _, old := known[entry]; !old && !named && v.state[key].Kind == "" {
			found("an index entry without a record: %s", entry)
		}
	}
	for entry, key := range known {
		if _, stays := left[entry]; !stays && !slices.Contains(keys, key) && !(script == "put" && grows(start, keys, argv)) {
			found("the stale entry %s is gone, which the call is not about, and the index has not grown", entry)
		}
	}
	breaches := before.Breaches()
	for breach := range after.Breaches() {
		if _, old := breaches[breach]; !old {
			found("the invariant is broken: %s", breach)
		}
	}
	if script == "put" {
		checkPut(start, before, after, now, keys, argv, reply, len(changed) > 0, found)
	}
	bound, form := v.checkReply(script, keys, argv, start, before, reply, found)
	budget := header.CallBudget(v.t, v.budgets, script, bound, form)
	if script == "delete" && slices.ContainsFunc(keys, isLease) {
		budget++ // the COST line says so too
	}
	if total > budget {
		found("%d calls, its COST line says %d: %v", total, budget, made)
	}
	return true
}

// evalshaArguments reads what follows the digest as EVALSHA does, and returns
// the error that it must give if it cannot.
func evalshaArguments(args []string) (keys, argv []string, refusal string) {
	n, err := strconv.ParseInt(args[0], 10, 64)
	switch {
	case err != nil || strconv.FormatInt(n, 10) != args[0]:
		return nil, nil, "ERR value is not an integer or out of range"
	case n > int64(len(args)-1):
		return nil, nil, "ERR Number of keys can't be greater than number of args"
	case n < 0:
		return nil, nil, "ERR Number of keys can't be negative"
	}
	return args[1 : n+1], args[n+1:], ""
}

// hasForeign tells whether a key is not of the type that the scripts expect.
func hasForeign(s invariant.State, keys []string) bool {
	for i, key := range keys {
		kind := s[key].Kind
		if i == 0 && kind != "" && kind != "zset" || i > 0 && kind != "" && kind != "string" {
			return true
		}
	}
	return false
}

var (
	ttlForm       = `(never|[1-9][0-9]{0,14})`
	actionForm    = regexp.MustCompile(`^(` + ttlForm + `|keep|touch ` + ttlForm + `|delete|check)$`)
	conditionForm = regexp.MustCompile(`^(?s:[*+-]|=.*|#[0-9a-f]{40})$`)
	limitForm     = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
	bytesForm     = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)
	segmentForm   = `[A-Za-z0-9._~%-]`
	termForm      = regexp.MustCompile(strings.ReplaceAll(`^(\*|=s+|\^(s+\*s*|\*s+)|\[(s+<s*|<s+))$`, "s", segmentForm))
)

// wellFormed tells whether a call is what the header of the script asks for.
func wellFormed(script string, keys, argv []string) bool {
	if len(keys) < 1 {
		return false
	}
	tag, isIndex := strings.CutSuffix(keys[0], "/keys")
	inside := strings.TrimSuffix(strings.TrimPrefix(tag, "{"), "}")
	if !isIndex || inside == "" || tag != "{"+inside+"}" || strings.ContainsAny(inside, "{}") {
		return false
	}
	records := keys[1:]
	for i, key := range records {
		member, isRecord := strings.CutPrefix(key, tag+":")
		_, err := wildkey.ParseKey(strings.TrimPrefix(member, "!")) // of a lease, with a ! before it
		if !isRecord || script == "put" && (err != nil || slices.Contains(records[:i], key)) || script != "sweep" && member == "" {
			return false
		}
	}
	switch n := len(records); script {
	case "put":
		if n == 0 || len(argv) != 3*n {
			return false
		}
		for op := range slices.Chunk(argv, 3) {
			if !actionForm.MatchString(op[0]) || !conditionForm.MatchString(op[1]) || op[2] != "" && !puts(op[0]) {
				return false
			}
		}
		return true
	case "delete":
		return n > 0 && len(argv) == 1 && (argv[0] == "count" || argv[0] == "values")
	case "sweep":
		return len(argv) == 0
	}
	return len(records) == 0 && len(argv) > 5 && slices.Contains(wants, argv[0]) &&
		limitForm.MatchString(argv[2]) && limitForm.MatchString(argv[3]) && bytesForm.MatchString(argv[4]) &&
		wellFormedPattern(argv[0], argv[5:], argv[1])
}

// isLease tells whether a Redis key is that of a lease.
func isLease(key string) bool { return strings.Contains(key, "}:!") }

// puts tells whether an action of put.lua puts a value.
func puts(action string) bool {
	return action != "delete" && action != "check" && !strings.HasPrefix(action, "touch ")
}

// grows tells whether a call of put.lua has the index grow.
func grows(start invariant.State, keys, argv []string) bool {
	for i, key := range keys[1:] {
		_, member, _ := strings.Cut(key, "}:")
		if _, indexed := start[keys[0]].Scores[member]; !indexed && puts(argv[3*i]) {
			return true
		}
	}
	return false
}

// checkPut expects of a call of put.lua all that it asks, or nothing.
func checkPut(
	start, before, after invariant.State, now int64, keys, argv []string, reply any, changes bool,
	found func(format string, a ...any),
) {
	done, failed := 0, 0
	for i, key := range keys[1:] {
		action, condition := argv[3*i], argv[3*i+1]
		old, live := before[key]
		if _, lived := start[key]; lived != live {
			return // it expires about now
		}
		holds := true
		switch condition[0] {
		case '-':
			holds = !live
		case '+':
			holds = live
		case '=':
			holds = live && old.Text == condition[1:]
		case '#':
			holds = live && sha1Of(old.Text) == condition[1:]
		}
		if failed == 0 && (!holds || action == "keep" && !live) {
			failed = i + 1
		}
		if !isLease(key) && (puts(action) || live && action != "check") {
			done++
		}
	}
	if failed > 0 {
		if reply != int64(-failed) || changes {
			found("the condition of record %d fails, and nothing is to be written", failed)
		}
		return
	}
	if reply != int64(done) {
		found("%d records are to be put, touched or deleted", done)
	}
	for i, key := range keys[1:] {
		action, want := argv[3*i], before[key]
		_, member, _ := strings.Cut(key, "}:")
		if _, indexed := after[keys[0]].Scores[member]; indexed && action == "delete" {
			found("%s is deleted, and yet in the index", member)
		}
		ttl, got := strings.TrimPrefix(action, "touch "), after[key]
		ms, errTTL := strconv.ParseInt(ttl, 10, 64)
		if errTTL == nil && ms < 60_000 {
			continue // it is gone, or may be soon
		}
		if puts(action) {
			want.Kind, want.Text = "string", argv[3*i+2]
		}
		switch expires, _ := strconv.ParseInt(got.Expires, 10, 64); {
		case action == "delete":
			want = invariant.Value{}
		case want.Kind == "":
		case ttl == "never":
			want.Expires = "-1"
		case errTTL == nil && expires <= now+ms && expires > now+ms-60_000: // the call itself takes time
			want.Expires = got.Expires
		}
		if !cmp.Equal(want, got) {
			found("%s after %s is %+v, not %+v", key, action, got, want)
		}
	}
}

func wellFormedPattern(want string, terms []string, cursor string) bool {
	length, head := -1, ""
	low, high, open := "", "", false
	for i, term := range terms {
		if term == "**" && i == len(terms)-1 && want != "list" {
			if !open {
				low, high, open = strings.TrimSuffix(head, ":"), head+"\xff", true
			}
			continue
		}
		if !termForm.MatchString(term) {
			return false
		}
		from, to, isRange := strings.Cut(term[1:], "<")
		begin, end, _ := strings.Cut(from, "*")
		if isRange && to != "" && from >= to {
			return false
		}
		shortest := max(1, len(begin)+len(end))
		if isRange {
			shortest = 1
		}
		if length += 1 + shortest; max(length, len(begin), len(end), len(to)) > 4096 {
			return false
		}
		switch {
		case open:
		case term[0] == '=':
			head += begin + ":"
		case isRange:
			low, high, open = head+from, head+"\xff", true
		default:
			low, high, open = head+begin, head+begin+"\xff", true
		}
	}
	if !open {
		low = strings.TrimSuffix(head, ":")
		high = low
		if want == "list" {
			high = head + "\xff"
		}
	}
	return cursor == "" || cursor[0] == '>' ||
		(cursor[0] == '[' || cursor[0] == '(') && low <= cursor[1:] && cursor[1:] <= high
}

// checkReply holds the reply of a call that was accepted against RETURNS. It
// returns what there was in it of what the COST line counts, and the reply that was
// asked for, where the COST line tells replies apart.
func (v *victim) checkReply(
	script string, keys, argv []string, start, before invariant.State, reply any, found func(format string, a ...any),
) (locals, form string) {
	v.t.Helper()
	n := len(keys) - 1
	number, isNumber := reply.(int64)
	items, isList := reply.([]any)
	switch script {
	case "put":
		if !isNumber || number < int64(-n) || number > int64(n) {
			found("it names none of %d records", n)
		}
		c, p, t, d, e := 0, 0, 0, 0, 0
		for op := range slices.Chunk(argv, 3) {
			if op[1] != "*" || op[0] == "keep" {
				c++
			}
			switch {
			case puts(op[0]):
				p++
			case op[0] == "delete":
				d++
			case op[0] != "check":
				t++
			}
		}
		if grows(start, keys, argv) {
			e = 1024
		}
		return fmt.Sprintf("local c, p, t, d, e = %d, %d, %d, %d, %d", c, p, t, d, e), ""
	case "delete":
		if argv[0] == "count" {
			if !isNumber || number < 0 || number > int64(n) {
				found("it deleted %d records", n)
			}
			return fmt.Sprintf("local n = %d", n), "count"
		}
		if !isList || len(items) != n {
			found("it deleted %d records", n)
		}
		for i, item := range items {
			old, lasts := before[keys[i+1]]
			text, isText := item.(string)
			if item != nil && !isText || lasts && old.Kind == "string" && text != old.Text {
				found("value %d is %v, and was %q", i+1, item, old.Text)
			}
		}
		return fmt.Sprintf("local n = %d", n), "values"
	case "sweep":
		if !isNumber || number < 0 || number > int64(n) {
			found("it dropped the entries of %d records", n)
		}
		return fmt.Sprintf("local n, s = %d, %d", n, n), ""
	}
	if !isList || len(items) != 4 {
		found("it is no page")
		return "local reads, M, S = 0, 0, 0", argv[0]
	}
	return v.checkPage(argv, items, found), argv[0]
}

// checkPage holds a page against its bounds.
func (v *victim) checkPage(argv []string, page []any, found func(format string, a ...any)) (locals string) {
	v.t.Helper()
	var bounds [3]int
	for i := range bounds {
		bounds[i], _ = strconv.Atoi(argv[i+2])
	}
	limit, reads, most := bounds[0], bounds[1], bounds[2]
	read := page[1].(int64)
	stale := page[2].([]any)
	matches, listed := 0, slices.Clone(stale)
	if argv[0] == "count" {
		matches = int(page[3].(int64))
	} else {
		results := page[3].([]any)
		width := map[string]int{"values": 2, "records": 3}[argv[0]]
		for result := range slices.Chunk(results, max(width, 1)) {
			if width == 3 {
				if left, isNumber := result[2].(int64); !isNumber || left < -1 {
					found("%v has %v milliseconds left", result[0], result[2])
				}
				result = result[:2]
			}
			matches, listed = matches+1, append(listed, result...)
		}
	}
	bytes, records := 0, len(stale)
	if argv[0] != "count" {
		records += matches
	}
	for _, text := range listed {
		bytes += len(text.(string))
	}
	if matches > limit || read > int64(reads) || bytes > most && records > 1 {
		found("%d matches of %d, %d entries read of %d, %d bytes of %d", matches, limit, read, reads, bytes, most)
	}
	if cursor := page[0].(string); cursor != "" && !wellFormedPattern(argv[0], argv[5:], cursor) {
		found("it would not take its own cursor")
	}
	// The last look at the index may find nothing, and one more record may have been looked up that did not fit.
	return fmt.Sprintf("local reads, M, S = %d, %d, %d", min(int(read)+1, reads), matches+len(stale)+1, len(stale)+1)
}
