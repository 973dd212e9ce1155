// Package hostile calls the scripts as no client does.
package hostile

import (
	"bufio"
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
	hostileSeed   = flag.Uint64("hostile-seed", 0, "the seed of TestHostileCalls; 0: the time")
	hostileRounds = flag.Int("hostile-rounds", 30, "how many rounds of 40 calls it has, a third of it on a server")
)

// TestHostileCalls gives the scripts what no client sends, over a connection
// that knows nothing of Wildkey, and holds each call against all that the
// scripts promise: see victim.attack.
func TestHostileCalls(t *testing.T) {
	seed := *hostileSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test -run TestHostileCalls ./internal/suites/hostile -hostile-seed %d", seed)
	attack := func(t *testing.T, v *victim, rounds int) {
		accepted, refused := map[string]int{}, map[string]int{}
		for round := range uint64(rounds) {
			random := hostile{rand.New(rand.NewPCG(seed+round, 0))}
			v.populate()
			for n := 0; n < 40 && len(v.state) < 200; n++ {
				args := random.call()
				if v.attack(args) {
					accepted[args[1]]++
				} else {
					refused[args[1]]++
				}
			}
			if v.alive(); t.Failed() {
				t.Fatalf("reproduce with: -hostile-seed %d -hostile-rounds 1", seed+round)
			}
		}
		for _, script := range wildkey.Scripts() {
			if least := max(1, rounds/10); accepted[script.SHA1] < least || refused[script.SHA1] < least {
				t.Errorf("%s.lua: %d calls were accepted, %d refused: the calls are not what they should be",
					script.Name, accepted[script.SHA1], refused[script.SHA1])
			}
		}
	}
	t.Run("engine", func(t *testing.T) { attack(t, newVictim(t, luatest.New(), nil), *hostileRounds) })
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		if server.Program.Before(7, 0) {
			t.Skip("this server cannot tell the millisecond at which a record expires, and no change may go unseen")
		}
		attack(t, newVictim(t, nil, server), max(1, *hostileRounds/3))
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

// hostile makes calls up.
type hostile struct{ *rand.Rand }

func pick[T any](h hostile, from ...T) T { return from[h.IntN(len(from))] }

// oneIn is true once in n times.
func (h hostile) oneIn(n int) bool { return h.IntN(n) == 0 }

func (h hostile) call() []string {
	script := pick(h, wildkey.Scripts()...)
	keys, argv := h.valid(script.Name)
	numkeys := strconv.Itoa(len(keys))
	for range pick(h, 0, 0, 1, 1, 1, 2, 5) {
		switch h.IntN(7) {
		case 0:
			numkeys = pick(h, strconv.Itoa(len(keys)-1), strconv.Itoa(len(keys)+1), h.number())
		case 1, 2:
			keys = mutate(h, keys, func(int) string { return h.key() })
			numkeys = strconv.Itoa(len(keys))
		default:
			argv = mutate(h, argv, func(place int) string { return h.argument(script.Name, place) })
		}
	}
	return slices.Concat([]string{"EVALSHA", script.SHA1, numkeys}, keys, argv)
}

// mutate changes one place of a list.
func mutate(h hostile, list []string, other func(place int) string) []string {
	if len(list) == 0 || h.oneIn(5) {
		return slices.Insert(list, h.IntN(len(list)+1), other(0))
	}
	i, j := h.IntN(len(list)), h.IntN(len(list))
	switch h.IntN(8) {
	case 0:
		list = slices.Delete(list, i, i+1)
	case 1:
		list[i], list[j] = list[j], list[i]
	case 2:
		list[i] = list[j]
	case 3:
		b := []byte(list[i] + "x")
		b[h.IntN(len(b))] = byte(h.IntN(256))
		list[i] = string(b)
	default:
		list[i] = other(i)
	}
	return list
}

// valid returns a call that is well-formed, in most cases.
func (h hostile) valid(script string) (keys, argv []string) {
	tag := pick(h, "{t}", "{t}", "{t}", "{t}", "{u}", "{t}{u}", "{f}", "{g}", "{new}", "{%}", "{\x00\xff\n}",
		"{"+strings.Repeat("n", 300)+"}")
	keys = []string{tag + "/keys", tag + "/expiry"}
	if script == "match" {
		most := func(other string) string { return pick(h, "1", "1", "2", "2", "5", "5", "100", "1000", "99999", other) }
		argv = []string{
			pick(h, "values", "keys", "count"), "",
			most(h.number()), most(h.number()), most(pick(h, "1000", "999999999")),
		}
		for range pick(h, 0, 1, 1, 2, 3) {
			argv = append(argv, pick(h, "*", "*", "*", "^u", "^o", "^a", "=a", "=user", "=4", "="+h.segment(), h.term()))
		}
		if h.oneIn(40) {
			term := pick(h, "*", "=a", "^a", h.term())
			argv = append(argv, slices.Repeat([]string{term}, pick(h, 200, 2047, 3000, 20_000))...)
		}
		if len(argv) == 5 || h.oneIn(2) {
			argv = append(argv, "**")
		}
		if h.oneIn(4) {
			argv[1] = h.cursor(argv[5:])
		}
		if h.oneIn(20) {
			keys = append(keys, tag+":a")
		}
		return keys, argv
	}
	n := pick(h, 0, 1, 1, 2, 3, 10)
	if h.oneIn(60) {
		n = pick(h, 500, 1001, 3000)
	}
	for range n {
		keys = append(keys, tag+pick(h, ":", ":user:4:")+h.segment())
		switch script {
		case "put":
			argv = append(argv, pick(h, "v", "", "\x00\xff\r\n"), h.ttl(), pick(h, "*", "*", "*", "-", "+", "=v", "="))
		case "touch":
			argv = append(argv, pick(h, "keep", h.ttl()))
		}
	}
	switch script {
	case "delete":
		argv = []string{pick(h, "count", "values")}
	case "sweep":
		argv = []string{pick(h, "0", "1", "3", "9999", "10000")}
	}
	return keys, argv
}

// segment is of a name that populate puts, in most cases.
func (h hostile) segment() string {
	return pick(h, "a", "b", "4", "40", "user", "gone", "h", "%00%FF", "raw", "old3")
}

func (h hostile) ttl() string {
	return pick(h, "0", "0", "1", "3600000", "999999999999999", strconv.Itoa(1+h.IntN(1e9)))
}

func (h hostile) number() string {
	if h.oneIn(3) {
		return pick(h, "1", "9") + strings.Repeat(pick(h, "0", "9"), h.IntN(20))
	}
	return pick(h, "", "0", "00", "01", "1", "-1", "-0", "+1", " 1", "1 ", "1.0", "1.5", "1e3", "1e309", "-1e309",
		"nan", "inf", "-inf", "0x10", "1_000", "99999", "100000", "1000000000", "1000000000000000", "9007199254740993",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551616", "1\x00", "1\n",
		"\xd9\xa1", "keep", "KEEP", strings.Repeat("9", 400), strings.Repeat("0", 400)+"1")
}

func (h hostile) key() string {
	tag := pick(h, "{t}", "{t}", "{t}", "{u}", "{T}", "{t}{u}", "{{t}}", "{t", "t}", "{}", "", "{t}t", "x{t}")
	return tag + pick(h, "/keys", "/expiry", ":", ":a", ":user:4", "::a", ":a:", ":a::b", ":%", ":%4", ":%41", ":%c3",
		":%C3", ":%zz", ":%00", ":{u}", ":*", ":a b", ":\x00", ":\xff", ":a\r\n", "/", "/keys:", "/keys/keys", "a", "",
		":"+strings.Repeat("k", 4096), ":"+strings.Repeat("k", 4097), ":"+strings.Repeat("k:", 2047)+"k", h.binary())
}

// argument is one for a place in ARGV, in most cases.
func (h hostile) argument(script string, place int) string {
	if h.oneIn(8) {
		return h.binary()
	}
	switch {
	case script == "match" && place == 0:
		return pick(h, "values", "keys", "count", "VALUES", "")
	case script == "match" && place == 1:
		return h.cursor(nil)
	case script == "match" && place > 4:
		return h.term()
	case script == "put" && place%3 == 2:
		return h.condition()
	case script == "delete":
		return pick(h, "count", "values", "COUNT", "count ", "", h.number())
	}
	return pick(h, h.number(), h.number(), h.ttl())
}

func (h hostile) condition() string {
	return pick(h, "*", "-", "+", "=", "=v", "", "**", "*\x00", "-x", "?", "==", " *", "=\x00\xff",
		"="+strings.Repeat("v", 10_000))
}

func (h hostile) term() string {
	if h.oneIn(3) {
		return pick(h, "=", "^", "*", "", "**") + h.binary()
	}
	return pick(h, "*", "**", "***", "", "=", "^", "=a", "^a", "a", "=%", "^%", "=%41", "=%%", "=%C3%A9", "=%c3", "=.",
		"=.-", "^-", "=[a-z]", "=%a", "=%b()", "=%f", "=(", "=()", "=a:b", "=^", "=$", "^$", "=a*", "=a\x00", "=\x00",
		"= a", "={t}", "^"+strings.Repeat("a", 4096), "="+strings.Repeat("a", 4097), "="+strings.Repeat("%00", 1365))
}

func (h hostile) cursor(terms []string) string {
	place := pick(h, "", "a", "a:", "a;", "b", "user", "user:4", "user:4:a", "user;", "\xff", "\xff\xff", "\x00",
		strings.Repeat("a", 9000), h.binary())
	if len(terms) > 0 && h.oneIn(2) {
		place = strings.TrimLeft(terms[0], "=^*") + pick(h, "", ":", ":4", "\xff", "\xff\xff", "\xfe", ";", "zz")
	}
	return pick(h, "[", "(", "[", "(", "", "-", "+") + place
}

func (h hostile) binary() string {
	b := make([]byte, h.IntN(12))
	for i := range b {
		b[i] = pick(h, byte(h.IntN(256)), "%:{}*^=-+0a\x00"[h.IntN(12)])
	}
	return string(b)
}

// victim is a server that hostile calls are made to.
type victim struct {
	t        testing.TB
	engine   *luatest.Engine // or else a server, through conn
	conn     *resp.Conn
	snapshot string // the digest of snapshotScript
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
	v.snapshot = v.do([]string{"SCRIPT", "LOAD", snapshotScript})[0].(string)
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
	for _, tag := range []string{"{t}", "{u}", "{T}", "{f}", "{g}"} {
		for i, name := range strings.Fields("a b 4 user:4 user:4:a user:4:b:c user:40:a user %00%FF gone") {
			ttl := []string{"0", "3600000"}[i%2]
			add("EVALSHA", digest, "3", tag+"/keys", tag+"/expiry", tag+":"+name, "v", ttl, "*")
		}
		order, expiry := []string{"ZADD", tag + "/keys"}, []string{"ZADD", tag + "/expiry"}
		for i := range 150 { // more than a put of a few records purges
			order, expiry = append(order, "0", fmt.Sprintf("old%d", i)), append(expiry, "1", fmt.Sprintf("old%d", i))
		}
		commands = append(commands, order, expiry)
		add("DEL", tag+":gone")
		add("HSET", tag+":h", "field", "value")
		add("SET", tag+":raw", "no index knows it")
	}
	for _, other := range []string{"a", "t:a", "{t}t:a", "{t", "{}:a", "{t}", "x{t}:a", "{{t}}:a"} {
		add("SET", other, "canary")
	}
	add("ZADD", "{t}{u}/keys", "0", "a")
	add("SET", "{f}/keys", "foreign")
	add("SET", "{g}/expiry", "foreign")
	for i, reply := range v.do(commands...) {
		if failed, ok := reply.(luatest.Error); ok {
			v.t.Fatalf("%q: %v", commands[i], failed)
		}
	}
	v.state, _ = rawStateOf(v.t, v.do([]string{"EVALSHA", v.snapshot, "0"})[0])
}

// snapshotScript returns the time and, for each key, {key, type, expiry, what it
// holds}. Redis 6.2 tells the time left, and with a TIME that is no part of the
// same snapshot: there a score that is that near counts as the expiry.
const snapshotScript = `
local time = redis.call('TIME')
local now, keys = time[1] * 1000 + math.floor(time[2] / 1000), {}
local asked = redis.pcall('PEXPIRETIME', 'x')
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, held = redis.call('TYPE', key).ok, {}
  local expires = asked == -2 and redis.call('PEXPIRETIME', key) or redis.call('PTTL', key)
  if asked ~= -2 and expires >= 0 then
    local tag, member = string.match(key, '^({[^{}]+}):(.*)$')
    local score = tag and redis.pcall('ZSCORE', tag .. '/expiry', member)
    expires = expires + now
    if type(score) == 'string' and math.abs(tonumber(score) - expires) < 6 then expires = tonumber(score) end
  end
  if kind == 'string' then held = { redis.call('GET', key) } end
  if kind == 'hash' then held = redis.call('HGETALL', key) end
  if kind == 'zset' then held = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  keys[#keys + 1] = { key, kind, string.format('%.0f', expires), held }
end
return { string.format('%.0f', now), keys }`

func rawStateOf(t testing.TB, reply any) (s invariant.State, now int64) {
	t.Helper()
	parts, ok := reply.([]any)
	if !ok {
		t.Fatalf("the snapshot: %v", reply)
	}
	now, err := strconv.ParseInt(parts[0].(string), 10, 64)
	backend.Must(t, err)
	s = invariant.State{}
	for _, one := range parts[1].([]any) {
		one := one.([]any)
		v, held := invariant.Value{Kind: one[1].(string), Expires: one[2].(string)}, one[3].([]any)
		switch v.Kind {
		case "zset":
			v.Scores = map[string]string{}
			for i := 0; i < len(held); i += 2 {
				v.Scores[held[i].(string)] = held[i+1].(string)
			}
		case "string":
			v.Text = held[0].(string)
		default:
			v.Text = fmt.Sprintf("%q", held)
		}
		s[one[0].(string)] = v
	}
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
		after, now = rawStateOf(v.t, v.do(snapshot)[0])
		return reply, made, after, now
	}
	replies := v.do([]string{"CONFIG", "RESETSTAT"}, args, []string{"INFO", "commandstats"}, snapshot)
	for _, stat := range callsOf.FindAllStringSubmatch(replies[2].(string), -1) {
		// Redis 6.2 counts the CONFIG from above too.
		if name := strings.ToUpper(stat[1]); name != "EVALSHA" && name != "CONFIG" {
			made[name], _ = strconv.Atoi(stat[2])
		}
	}
	after, now = rawStateOf(v.t, replies[3])
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
	if script != "put" && script != "delete" {
		known := before.Stale()
		for entry, key := range after.Stale() {
			// Named twice, a record may have run out by its second turn.
			twice := slices.Contains(keys[slices.Index(keys, key)+1:], key)
			if _, old := known[entry]; !old && !twice && v.state[key].Kind == "" {
				found("an index entry without a record: %s", entry)
			}
		}
	}
	// A put purges 64 entries and two a record, of two indexes, and gives others a record.
	n := len(keys) - 2
	if collected, most := len(before.Stale())-len(after.Stale()), 2*(64+2*n+n); script == "put" && collected > most {
		found("%d stale entries are gone, at most %d may be", collected, most)
	}
	known := before.Breaches()
	for breach := range after.Breaches() {
		if _, old := known[breach]; !old {
			found("the invariant is broken: %s", breach)
		}
	}
	bound, values := v.checkReply(script, keys, argv, before, reply, found)
	if budget := header.CallBudget(v.t, v.budgets, script, bound, values); total > budget {
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
		if i < 2 && kind != "" && kind != "zset" || i >= 2 && kind != "" && kind != "string" {
			return true
		}
	}
	return false
}

var (
	ttlForm   = regexp.MustCompile(`^(0|[1-9][0-9]{0,14})$`)
	limitForm = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
	purgeForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})$`)
	bytesForm = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)
	termForm  = regexp.MustCompile(`^[=^][A-Za-z0-9._~%-]+$|^\*$`)
)

// wellFormed tells whether a call is what the header of the script asks for.
func wellFormed(script string, keys, argv []string) bool {
	if len(keys) < 2 {
		return false
	}
	tag, isOrder := strings.CutSuffix(keys[0], "/keys")
	inside := strings.TrimSuffix(strings.TrimPrefix(tag, "{"), "}")
	if !isOrder || inside == "" || tag != "{"+inside+"}" || strings.ContainsAny(inside, "{}") || keys[1] != tag+"/expiry" {
		return false
	}
	records := keys[2:]
	for _, key := range records {
		member, isRecord := strings.CutPrefix(key, tag+":")
		_, err := wildkey.ParseKey(member)
		if !isRecord || script == "put" && err != nil || script != "sweep" && member == "" {
			return false
		}
	}
	each := func(i, of int, ok func(arg string) bool) bool {
		for ; i < len(argv); i += of {
			if !ok(argv[i]) {
				return false
			}
		}
		return true
	}
	switch n := len(records); script {
	case "put":
		return n > 0 && len(argv) == 3*n && each(1, 3, ttlForm.MatchString) && each(2, 3, func(condition string) bool {
			return slices.Contains([]string{"*", "-", "+"}, condition) || strings.HasPrefix(condition, "=")
		})
	case "touch":
		return n > 0 && len(argv) == n &&
			each(0, 1, func(ttl string) bool { return ttl == "keep" || ttlForm.MatchString(ttl) })
	case "delete":
		return n > 0 && len(argv) == 1 && (argv[0] == "count" || argv[0] == "values")
	case "sweep":
		return len(argv) == 1 && purgeForm.MatchString(argv[0])
	}
	return len(records) == 0 && len(argv) > 5 && slices.Contains([]string{"values", "keys", "count"}, argv[0]) &&
		limitForm.MatchString(argv[2]) && limitForm.MatchString(argv[3]) && bytesForm.MatchString(argv[4]) &&
		wellFormedPattern(argv[5:], argv[1])
}

func wellFormedPattern(terms []string, cursor string) bool {
	length, head, open := -1, "", false
	low, high := "", ""
	for i, term := range terms {
		if rest := term == "**" && i == len(terms)-1; rest {
			if !open {
				low, high, open = strings.TrimSuffix(head, ":"), head+"\xff", true
			}
			continue
		}
		if !termForm.MatchString(term) {
			return false
		}
		text := term[1:]
		if length += 1 + max(1, len(text)); length > 4096 {
			return false
		}
		switch {
		case open:
		case term[0] == '=':
			head += text + ":"
		default:
			low, high, open = head+text, head+text+"\xff", true
		}
	}
	if !open {
		low = strings.TrimSuffix(head, ":")
		high = low
	}
	return cursor == "" || (cursor[0] == '[' || cursor[0] == '(') && low <= cursor[1:] && cursor[1:] <= high
}

// checkReply holds the reply of a call that was accepted against RETURNS. It
// returns what there was in it of what the COST line counts.
func (v *victim) checkReply(
	script string, keys, argv []string, before invariant.State, reply any, found func(format string, a ...any),
) (locals string, values bool) {
	v.t.Helper()
	n := len(keys) - 2
	number, isNumber := reply.(int64)
	items, isList := reply.([]any)
	switch script {
	case "put":
		conditions, expiring := 0, 0
		for i := range n {
			if argv[3*i+2] != "*" {
				conditions++
			}
			if argv[3*i+1] != "0" {
				expiring++
			}
		}
		failed := isNumber && number < 0 && int(-number) <= n && argv[-3*number-1] != "*"
		if !failed && reply != int64(n) {
			found("it put %d records", n)
		}
		return fmt.Sprintf("local n, c, t, p = %d, %d, %d, %d", n, conditions, expiring, 64+2*n), false
	case "touch":
		if !isNumber || number < 0 || number > int64(n) {
			found("it touched %d records", n)
		}
		keep := 0
		for _, ttl := range argv {
			if ttl == "keep" {
				keep++
			}
		}
		return fmt.Sprintf("local n, M, k = %d, %d, %d", n, number, min(keep, int(number))), false
	case "delete":
		if argv[0] == "count" {
			if !isNumber || number < 0 || number > int64(n) {
				found("it deleted %d records", n)
			}
			return fmt.Sprintf("local n = %d", n), false
		}
		if !isList || len(items) != n {
			found("it deleted %d records", n)
		}
		for i, item := range items {
			old, lasts := before[keys[i+2]]
			text, isText := item.(string)
			if item != nil && !isText || lasts && old.Kind == "string" && text != old.Text {
				found("value %d is %v, and was %q", i+1, item, old.Text)
			}
		}
		return fmt.Sprintf("local n = %d", n), true
	case "sweep":
		limit, _ := strconv.Atoi(argv[0])
		if !isList || len(items) != 2 || items[0].(int64) > int64(limit) || items[1].(int64) > int64(n) {
			found("it is to purge %d and drop %d", limit, n)
			return "local n, p, d = 0, 0, 0", false
		}
		return fmt.Sprintf("local n, p, d = %d, %d, %d", n, items[0], n), false
	}
	if !isList || len(items) != 4 {
		found("it is no page")
		return "local reads, M, S = 0, 0, 0", false
	}
	return v.checkPage(argv, items, found), false
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
		matches, listed = len(results), append(listed, results...)
		if argv[0] == "values" {
			matches /= 2
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
	if cursor := page[0].(string); cursor != "" && !wellFormedPattern(argv[5:], cursor) {
		found("it would not take its own cursor")
	}
	// One more may have been looked up that did not fit.
	return fmt.Sprintf("local reads, M, S = %d, %d, %d", read, matches+len(stale)+1, len(stale)+1)
}
