package luatest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// raised is an error that redis.call raised on the first line of a script.
type raised string

// TestGate has one row for each check, by a client and within a script.
func TestGate(t *testing.T) {
	scripts := map[string]string{
		"call":       "return redis.call(unpack(ARGV))",
		"afterwrite": "redis.call('DEL', 'none') return redis.call(unpack(ARGV))",
		"aftererror": "redis.pcall('DEL', 'none') return redis.call(unpack(ARGV))",
		"afterread":  "redis.call('GET', 's') return redis.call(unpack(ARGV))",
		"catch":      "pcall(function() while true do redis.pcall('GET', 's') end end) return 1",
		"loop":       "for i = 1, 9 do redis.call('GET', 's') end return 1",
	}
	full := func(e *Engine) { e.SetMemoryFull(true) }
	replica := func(e *Engine) { e.SetReplica(true) }
	cluster := func(e *Engine) { e.SetCluster(true) }
	declared := func(e *Engine) { e.SetDeclaredKeysOnly(true) }
	const (
		deniedKeys raised = "ERR The user executing the script can't access at least one of the keys " +
			"mentioned in the command arguments"
		deniedCmd    raised = "ERR The user executing the script can't run this command or subcommand"
		notLocal     raised = "ERR Script attempted to access a non local key in a cluster node"
		noWrites     raised = "ERR Write commands are not allowed from read-only scripts."
		clientKeys   Error  = "NOPERM this user has no permissions to access one of the keys used as arguments"
		clientNoDel  Error  = "NOPERM this user has no permissions to run the 'del' command"
		clientNoConf Error  = "NOPERM this user has no permissions to run the 'config|get' command"
	)
	type settings = []func(e *Engine)
	for _, test := range []struct {
		name    string
		set     settings
		command string // a script by its name
		want    any
	}{
		{"full, a client", settings{full}, "SET k v", errOOM},
		{"full, a script", settings{full}, "EVAL call 0 SET k v", raised(errOOM)},
		{"full, a script that wrote", settings{full}, "EVAL afterwrite 0 SET k v", Status("OK")},
		{"full, a command that frees", settings{full}, "DEL s", int64(1)},

		{"replica, a client", settings{replica}, "DEL s", errReplica},
		{"replica, a script", settings{replica}, "EVAL call 1 s DEL s", raised(errReplica)},
		{"replica, a read", settings{replica}, "EVAL call 1 s GET s", "v"},
		{"replica before full, a script", settings{replica, full}, "EVAL call 0 SET k v", raised(errReplica)},
		{"full before replica, a client", settings{replica, full}, "SET k v", errOOM},
		{"read-only run before replica", settings{replica}, "EVAL_RO call 0 SET k v", noWrites},

		{"cluster, two slots", settings{cluster}, "MGET s t", errCrossSlot},
		{"cluster, one slot", settings{cluster}, "MGET {s}x s", []any{nil, "v"}},
		{"cluster, KEYS in two slots", settings{cluster}, "EVAL call 2 s t GET s", errCrossSlot},
		{"cluster before full", settings{cluster, full}, "MSET s 1 t 2", errCrossSlot},
		{"cluster, a key in the slot", settings{cluster}, "EVAL call 1 {s}x GET s", "v"},
		{"cluster, a key elsewhere", settings{cluster}, "EVAL call 1 t GET s", notLocal},
		{"cluster, keys of two slots", settings{cluster}, "EVAL call 0 MGET s t", notLocal},
		{"cluster, after the first key", settings{cluster}, "EVAL afterread 0 GET t", notLocal},
		{"cluster, no key", settings{cluster}, "EVAL call 1 s ECHO t", "t"},
		{"full before cluster, a script", settings{cluster, full}, "EVAL call 1 t SET s v", raised(errOOM)},

		{"declared", settings{declared}, "EVAL call 1 s GET s", "v"},
		{"not declared", settings{declared}, "EVAL call 1 s MGET s t",
			raised(`ERR luatest: MGET of the key "t", which is not in KEYS`)},
		{"not declared is not written", settings{declared, full}, "EVAL aftererror 1 k SET k v", raised(errOOM)},
		{"a client declares nothing", settings{declared}, "GET s", "v"},

		{"user without a command", settings{setUser("~* +@all -del")}, "DEL s", clientNoDel},
		{"user without a subcommand", settings{setUser("~* +@all -config|get")}, "CONFIG GET x", clientNoConf},
		{"user without a key", settings{setUser("~t +@all")}, "GET s", clientKeys},
		{"user without a key of EVAL", settings{setUser("~t +@all")}, "EVAL call 2 t s GET t", clientKeys},
		{"user who only reads, EVAL", settings{setUser("%R~s +@all")}, "EVAL call 1 s GET s", clientKeys},
		{"user who only reads, EVAL_RO", settings{setUser("%R~s +@all")}, "EVAL_RO call 1 s GET s", "v"},
		{"user with both rights, apart", settings{setUser("%R~s %W~s +@all")}, "INCR s", errNotInt},
		{"user without a command, a script", settings{setUser("~* +@all -del")}, "EVAL call 0 DEL s", deniedCmd},
		{"user without a key, a script", settings{setUser("~t +@all")}, "EVAL call 0 GET s", deniedKeys},
		{"permission before a read-only run", settings{setUser("~* +@all -del")}, "EVAL_RO call 0 DEL s", deniedCmd},
		{"permission before full", settings{setUser("~t +@all"), full}, "SET k v", clientKeys},
		{"permission before cluster", settings{setUser("~t +@all"), cluster}, "MGET s t", clientKeys},
		{"HELLO is for everybody", settings{setUser("")}, "HELLO 3", Error("NOPROTO unsupported protocol version")},

		{"a failing call", settings{failCall(1)}, "EVAL call 0 SET k v", raised("ERR no  luck")},
		{"no such call", settings{failCall(2)}, "EVAL call 1 s GET s", "v"},
		{"a failing call taken back", settings{failCall(1), failCall(0)}, "EVAL call 1 s GET s", "v"},
		{"a call that is refused anyway", settings{failCall(1), replica}, "EVAL call 0 SET k v", raised(errReplica)},
		{"within the budget", settings{setCallBudget(1)}, "EVAL call 1 s GET s", "v"},
		{"over the budget", settings{setCallBudget(1)}, "EVAL afterwrite 0 SET k v",
			Error("ERR luatest: the script made more than 1 calls")},
		{"over the budget, and caught", settings{setCallBudget(3)}, "EVAL catch 0",
			Error("ERR luatest: the script made more than 3 calls")},
		{"no budget", settings{setCallBudget(3), setCallBudget(-1)}, "EVAL loop 0", int64(1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			args, want := strings.Fields(test.command), test.want
			if source, isScript := scripts[args[min(1, len(args)-1)]]; isScript {
				args[1] = source
			}
			if text, ok := want.(raised); ok {
				want = Error(string(text) + " script: " + digestOf(args[1]) + ", on @user_script:1.")
			}
			e := New()
			e.Do("MSET", "s", "v", "t", "w")
			before := e.Dump()
			for _, set := range test.set {
				set(e)
			}
			c := e.Clone()
			expect(t, e, want, args...)
			expect(t, c, want, args...) // a clone has the same gate
			if _, failed := want.(Error); failed && e.Dump() != before {
				t.Errorf("a refused command left\n%s", e.Dump())
			}
		})
	}
}

func failCall(n int) func(e *Engine) { return func(e *Engine) { e.FailCall(n, "ERR no\r\nluck") } }

func setCallBudget(n int) func(e *Engine) { return func(e *Engine) { e.SetCallBudget(n) } }

func setUser(rules string) func(e *Engine) {
	return func(e *Engine) {
		if err := e.SetUser(rules); err != nil {
			panic(err)
		}
	}
}

// A fault is for one run, and for one engine.
func TestFailCallIsForOneRun(t *testing.T) {
	e := New()
	const source = "return {redis.pcall('INCR', 'n'), redis.pcall('INCR', 'n')}"
	e.FailCall(2, "ERR no luck")
	c := e.Clone()
	expect(t, e, []any{int64(1), Error("ERR no luck")}, "EVAL", source, "0")
	expect(t, e, []any{int64(2), int64(3)}, "EVAL", source, "0")
	expect(t, c, []any{int64(1), Error("ERR no luck")}, "EVAL", source, "0")
	if calls := len(c.Trace()); calls != 3 {
		t.Errorf("%d calls in the trace, want 3 with the one that failed", calls)
	}
}

// What a replica's master has not deleted is hidden and still there.
func TestReplicaKeepsTheExpired(t *testing.T) {
	e := New()
	e.Do("SET", "k", "v", "PX", "1")
	e.Advance(2 * time.Millisecond)
	e.SetReplica(true)
	expect(t, e, nil, "GET", "k")
	expect(t, e, int64(1), "DBSIZE")
	e.SetReplica(false)
	expect(t, e, nil, "GET", "k")
	expect(t, e, int64(0), "DBSIZE")
}

func TestHelloNamesModeAndRole(t *testing.T) {
	e := New()
	for _, want := range []string{"standalone role master", "cluster role master", "cluster role replica"} {
		if reply := fmt.Sprint(e.Do("HELLO")); !strings.Contains(reply, "mode "+want) {
			t.Errorf("HELLO replies %s, want the mode %s", reply, want)
		}
		e.SetReplica(e.gate.cluster)
		e.SetCluster(true)
	}
}

func TestSetUserRefusesWrongRules(t *testing.T) {
	e := New()
	setUser("~* +@all -get")(e)
	for _, rules := range []string{
		"+nosuch", "+@nosuch", "-nosuch", "+config|nosuch", "+get|x", "%X~k", "%RR~k", "~* ~k", "allkeys %R~k", "get",
		"(~k +get)", "+", "+@", "+acl|nosuch", "+acl|", "+lolwut|x",
	} {
		if err := e.SetUser(rules); err == nil {
			t.Errorf("the rules %q are accepted", rules)
		}
	}
	expect(t, e, Error("NOPERM this user has no permissions to run the 'get' command"), "GET", "k")
	setUser("on nopass >secret resetchannels &* allkeys allcommands")(e)
	expect(t, e, nil, "GET", "k")
	setUser("~* +get -lolwut +acl|whoami +script|kill -@pubsub +GEOADD")(e)
	expect(t, e, nil, "GET", "k")
}

// TestCommandInfo compares the command table with the server's.
func TestCommandInfo(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		if server.Program.Minor() != "redis-7.0" {
			t.Skip("the table is that of Redis 7.0")
		}
		client := server.Client(t)
		known := map[string]flags{
			"write": write, "readonly": readOnly, "denyoom": denyOOM, "noscript": noScript, "admin": admin, "fast": fast,
			"no_auth": noAuth, "blocking": blocking, "pubsub": pubSub,
		}
		// These say when a server that loads, is stale or is busy runs a command,
		// and what MONITOR shows. The engine is never any of that.
		notModelled := strings.Fields("loading stale allow_busy skip_monitor skip_slowlog no_mandatory_keys movablekeys")
		all := map[string]*command{}
		for name, cmd := range commands {
			all[name] = cmd
			for _, sub := range cmd.subcommands {
				all[sub.name] = sub
			}
		}
		for name, cmd := range all {
			reply, err := client.Do(context.Background(), "COMMAND", "INFO", name).Slice()
			if err != nil || len(reply) != 1 || reply[0] == nil {
				t.Errorf("%s: COMMAND INFO replies %v, %v", name, reply, err)
				continue
			}
			info := reply[0].([]any)
			var want flags
			for _, flag := range info[2].([]any) {
				if bit, ok := known[flag.(string)]; ok {
					want |= bit
				} else if !slices.Contains(notModelled, flag.(string)) {
					t.Errorf("%s has the flag %s, which the test does not know", name, flag)
				}
			}
			if got := cmd.flags &^ (dangerous | reads | updates); got != want {
				t.Errorf("%s has the flags %b, want %b", name, got, want)
			}
			if arity := int(info[1].(int64)); cmd.arity != arity {
				t.Errorf("%s has the arity %d, want %d", name, cmd.arity, arity)
			}
			positions := []any{int64(cmd.firstKey), int64(cmd.lastKey), int64(cmd.keyStep)}
			if diff := cmp.Diff(info[3:6], positions); diff != "" {
				t.Errorf("%s: key positions (-want +got)\n%s", name, diff)
			}
			for _, category := range aclCategories {
				if want := slices.Contains(info[6].([]any), any("@"+category)); cmd.inCategory(category) != want {
					t.Errorf("%s in @%s is %v, want %v", name, category, !want, want)
				}
			}
			checkKeySpecs(t, cmd, info[8].([]any))
		}
	})
}

// checkKeySpecs compares what COMMAND INFO says of the keys with what a user
// must be permitted to do with them.
func checkKeySpecs(t *testing.T, cmd *command, specs []any) {
	t.Helper()
	if len(specs) == 0 {
		if cmd.firstKey != 0 || cmd.keyCount != 0 || cmd.keysAfter != "" {
			t.Errorf("%s has keys, want none", cmd.name)
		}
		return
	}
	for position, spec := range specs {
		spec := spec.(map[any]any)
		var want permission
		for _, flag := range spec["flags"].([]any) {
			switch flag {
			case "access":
				want |= mayRead
			case "insert", "update", "delete":
				want |= mayWrite
			}
		}
		if slices.Contains(spec["flags"].([]any), any("variable_flags")) {
			if cmd.needs == nil {
				t.Errorf("%s: what it does with its keys depends on its arguments", cmd.name)
			}
		} else if got := cmd.permission([]string{cmd.name}, position); got != want {
			t.Errorf("%s: the permission for its keys from the %d. on is %b, want %b", cmd.name, position+1, got, want)
		}
		begun := spec["begin_search"].(map[any]any)
		if word := begun["spec"].(map[any]any)["keyword"]; (begun["type"] == "keyword") != (word == cmd.keysAfter) {
			t.Errorf("%s: keys are looked for by %v", cmd.name, begun)
		}
	}
	if len(specs) > 1 != (cmd.perKey != nil) {
		t.Errorf("%s has keys that differ is %v, want %v", cmd.name, cmd.perKey != nil, len(specs) > 1)
	}
	last := specs[len(specs)-1].(map[any]any)
	if found := last["find_keys"].(map[any]any)["type"]; (found == "keynum") != (cmd.keyCount > 0) {
		t.Errorf("%s: keys are found by %v", cmd.name, found)
	}
	if isChannel := slices.Contains(last["flags"].([]any), any("not_key")); isChannel != cmd.channels {
		t.Errorf("%s has channels for keys is %v, want %v", cmd.name, cmd.channels, isChannel)
	}
}
