package luatest_test

import (
	"crypto/sha1"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey/internal/differ"
)

var (
	randomCommands = flag.Int("random-commands", 20_000, "how many commands TestRandomAgainstServer gives each server")
	randomSeed     = flag.Uint64("random-seed", 0, "what they are drawn from; 0: the time")
)

// pools are the values that random commands draw their arguments from.
var pools = map[string][]string{
	"key":     {"s", "t", "z", "lex", "h", "none", "{t}x", "brief", "list", "queue", "set", "ints", "other", "stream", "log"},
	"value":   {"", "0", "7", "-3", "x", "9223372036854775807", "a longer value"},
	"int":     {"0", "1", "-1", "2", "-2", "5", "x", "9223372036854775807", "-9223372036854775808"},
	"rank":    {"0", "1", "-1", "2", "-2", "5", "-100", "100", "x"},
	"score":   {"0", "1", "-1", "1.5", "0.1", "1e20", "123456789012345678", "inf", "-inf", "nan", "x", "3"},
	"bound":   {"-inf", "+inf", "0", "(0", "1", "(1", "(1.5", "3", "x", "("},
	"lex":     {"-", "+", "[a", "(a", "[b", "(c", "[", "(", "[ab", "x"},
	"member":  {"a", "b", "c", "ab", "abc", "", "\x00", "\xff", "z"},
	"when":    {"32503680000000", "32503680000001", "32503680001500", "1", "x"},
	"secs":    {"1000", "100000", "1", "0", "-1", "9223372036854775807", "x"},
	"ms":      {"1", "2", "3", "5", "499500", "100000", "0", "-1", "9223372036854775807", "x"},
	"zoption": {"NX", "XX", "GT", "LT", "CH", "INCR", "nx"},
	"eoption": {"NX", "XX", "GT", "LT", "no"},
	"soption": {"NX", "XX", "GET", "KEEPTTL", "PXAT", "EXAT", "PX", "EX", "get", "no"},
	"roption": {"REV", "BYSCORE", "BYLEX", "WITHSCORES", "rev", "no"},
	"text":    {"a", "*", "", "x y", "async", "\r\n"},
	"float":   {"0.1", "-0.3", "1e20", "3.0e3", "5", "-1", "0x1p-3", "1e-18", "1e-4951", "inf", "nan", "x", " 1"},
	"offset":  {"0", "1", "3", "7", "8", "12", "40", "#1", "-1", "x", "4294967296"},
	"bit":     {"0", "1", "2", "x"},
	"bitop":   {"AND", "OR", "XOR", "NOT", "and", "no"},
	"unit":    {"BIT", "BYTE", "bit", "no"},
	"field":   {"u8", "i8", "u1", "i5", "u63", "i64", "u64", "i3", "x"},
	"amount":  {"1", "-1", "100", "-200", "255", "9223372036854775807", "-9223372036854775808", "x"},
	"onfull":  {"WRAP", "SAT", "FAIL", "no"},
	"dest":    {"s", "t", "z", "none", "{t}x", "brief"},
	"keys":    {"1", "2", "2", "2", "3", "0", "x"},
	"weight":  {"2", "-1", "0", "inf", "0.1", "0.7", "x"},
	"by":      {"SUM", "MIN", "max", "no"},
	"least":   {"MIN", "MAX", "max", "no"},
	"list":    {"list", "list", "queue", "queue", "none", "s"},
	"side":    {"LEFT", "RIGHT", "left", "no"},
	"place":   {"BEFORE", "AFTER", "before", "no"},
	"found":   {"RANK", "COUNT", "MAXLEN", "no"},
	"set":     {"set", "set", "ints", "ints", "other", "none", "s"},
	"element": {"1", "2", "10", "-3", "a", "b", "", "\xff"},
	"limit":   {"0", "1", "2", "100", "-1", "x"},
	"glob":    {"*", "[1a]*", "", "?"},
	"stream":  {"stream", "stream", "log", "log", "none", "s"},
	"new":     {"1-1", "1-2", "1-*", "2-0", "2-*", "2", "3-1", "0-0", "4-18446744073709551615", "x"},
	"id":      {"1-1", "1-2", "2-0", "1", "2", "3-1", "0", "-", "+", "(1-1", "(2", "(18446744073709551615", "(0-0", "(", "$", "x"},
	"xoption": {"MAXLEN", "MINID", "LIMIT", "NOMKSTREAM", "=", "~", "0", "1", "2", "no"},
	// Full memory is the exception, or nothing else would happen.
	"full": {"0", "0", "0", "0", "1"},
}

// shapes are command lines; <pool> stands for a value of a pool, <pool?> for
// one or none.
var shapes = []string{
	"GET <key>", "SET <key> <value> <soption?> <soption?> <when?>", "SET <key> <value> PX <ms> <soption?>",
	"SET <key> <value> EX <secs>",
	"SETNX <key> <value>", "SETEX <key> <secs> <value>", "PSETEX <key> <ms> <value>", "GETDEL <key>",
	"MGET <key> <key> <key>", "MSET <key> <value> <key> <value>", "STRLEN <key>", "APPEND <key> <value>",
	"INCR <key>", "DECR <key>", "INCRBY <key> <int>", "DECRBY <key> <int>",
	"GETEX <key> PXAT <when>", "GETEX <key> PX <ms>", "GETEX <key> <soption?> <when?>", "GETEX <key> PERSIST",
	"DEL <key>", "UNLINK <key> <key>", "EXISTS <key> <key>", "TYPE <key>",
	"EXPIRE <key> <secs> <eoption?>", "PEXPIRE <key> <ms> <eoption?> <eoption?>", "EXPIREAT <key> <when> <eoption?>",
	"PEXPIREAT <key> <when> <eoption?> <eoption?>", "PEXPIRETIME <key>", "EXPIRETIME <key>", "TTL <key>", "PTTL <key>",
	"PERSIST <key>",
	"ZADD z <zoption?> <zoption?> <score> <member> <score?> <member?>", "ZADD z <score> <member> <score> <member>",
	"ZADD lex 0 <member> 0 <member>", "ZADD lex 0 <member>", "ZADD <key> 0 <member>",
	"ZINCRBY z <score> <member>", "ZREM z <member> <member>", "ZREM lex <member>", "ZSCORE <key> <member>",
	"ZMSCORE <key> <member> <member>", "ZCARD <key>", "ZCOUNT <key> <bound> <bound>", "ZLEXCOUNT lex <lex> <lex>",
	"ZRANK <key> <member>", "ZREVRANK <key> <member>",
	"ZRANGE <key> <rank> <rank> <roption?>", "ZRANGE z <bound> <bound> BYSCORE <roption?> <roption?>",
	"ZRANGE lex <lex> <lex> BYLEX <roption?> LIMIT <rank> <rank>", "ZREVRANGE <key> <rank> <rank> WITHSCORES",
	"ZRANGEBYSCORE <key> <bound> <bound> WITHSCORES LIMIT <rank> <rank>", "ZREVRANGEBYSCORE z <bound> <bound>",
	"ZRANGEBYLEX lex <lex> <lex>", "ZRANGEBYLEX lex <lex> <lex> LIMIT <rank> <rank>", "ZREVRANGEBYLEX lex <lex> <lex>",
	"ZREMRANGEBYSCORE <key> <bound> <bound>", "ZREMRANGEBYLEX lex <lex> <lex>", "ZREMRANGEBYRANK <key> <rank> <rank>",
	"ZSCAN <key> 0", "ZSCAN <key> 0 MATCH a* COUNT <int>",
	"HSET <key> <member> <value> <member> <value>", "HGET <key> <member>", "HMGET h <member> <member>", "HGETALL <key>",
	"HDEL <key> <member> <member>", "HEXISTS h <member>", "HLEN <key>", "HINCRBY h <member> <int>",
	"GETRANGE <key> <rank> <rank>", "SUBSTR <key> <rank> <rank>", "SETRANGE <key> <offset> <value>", "GETSET <key> <value>",
	"MSETNX <key> <value> <key> <value>", "INCRBYFLOAT <key> <float>",
	"SETBIT <key> <offset> <bit>", "GETBIT <key> <offset>", "BITCOUNT <key>", "BITCOUNT <key> <rank> <rank> <unit?>",
	"BITPOS <key> <bit> <rank?> <rank?> <unit?>", "BITOP <bitop> <key> <key> <key>", "BITOP NOT <key> <key>",
	"BITFIELD <key> GET <field> <offset> SET <field> <offset> <amount>", "BITFIELD_RO <key> GET <field> <offset>",
	"BITFIELD <key> OVERFLOW <onfull> INCRBY <field> <offset> <amount> INCRBY <field> <offset> <amount>",
	"HMSET h <member> <value>", "HSETNX <key> <member> <value>", "HKEYS <key>", "HVALS <key>", "HSTRLEN <key> <member>",
	"HINCRBYFLOAT h <member> <float>", "HSCAN <key> 0", "HSCAN <key> 0 MATCH a* COUNT <int>",
	"ZPOPMIN <key> <rank?>", "ZPOPMAX z <rank?>", "ZMPOP 2 <key> <key> <least>", "ZMPOP 1 z <least> COUNT <rank>",
	"ZUNIONSTORE <dest> <keys> <key> <key>", "ZUNIONSTORE <dest> 2 z <key> WEIGHTS <weight> <weight> AGGREGATE <by>",
	"ZINTERSTORE <dest> 2 z <key> WEIGHTS <weight> <weight>", "ZDIFFSTORE <dest> <keys> z <key>",
	"ZUNION <keys> <key> <key> AGGREGATE <by> WITHSCORES", "ZUNION 3 z <key> <key> WEIGHTS <weight> <weight> <weight> WITHSCORES",
	"ZINTER 2 z <key> <roption?> WEIGHTS <weight> <weight>", "ZDIFF 2 <key> <key> <roption?>",
	"ZINTERCARD 2 z <key> LIMIT <rank>", "ZINTERCARD <keys> <key> <key>",
	"ZRANGESTORE <dest> <key> <rank> <rank> <roption?>", "ZRANGESTORE <dest> z <bound> <bound> BYSCORE LIMIT <rank> <rank>",
	"RENAME <key> <dest>", "RENAMENX <key> <dest>", "COPY <key> <dest>", "COPY <key> <dest> REPLACE", "TOUCH <key> <key>",
	"OBJECT FREQ <key>", "PUBLISH <text> <text>", "SPUBLISH <text> <text>",
	"LPUSH <list> <value> <value?>", "RPUSH <list> <value> <value?>", "RPUSH <list> <value> <value> <value>",
	"LPUSHX <list> <value>", "RPUSHX <list> <value> <value>", "LPOP <list> <int?>", "RPOP <list> <int?>", "LLEN <key>",
	"LRANGE <list> <rank> <rank>", "LINDEX <list> <rank>", "LSET <list> <rank> <value>", "LREM <list> <int> <value>",
	"LTRIM <list> <rank> <rank>", "LINSERT <list> <place> <value> <value>", "LPOS <list> <value> <found?> <int?>",
	"LPOS <list> <value> RANK <int> COUNT <int> MAXLEN <int>", "LPOS <list> <value> RANK <rank> COUNT <rank>",
	"LMOVE <list> <list> <side> <side>", "RPOPLPUSH <list> <list>", "LMPOP 2 <list> <list> <side> COUNT <int>",
	"LMPOP <rank> <list> <side>",
	"SADD <set> <element> <element?>", "SADD <set> <element> <element> <element>", "SREM <set> <element> <element>",
	"SISMEMBER <set> <element>", "SMISMEMBER <set> <element> <element>", "SMEMBERS <set>", "SCARD <key>",
	"SMOVE <set> <set> <element>", "SINTER <set> <set>", "SUNION <set> <set>", "SDIFF <set> <set> <set?>", "SINTER <key>",
	"SINTERSTORE <set> <set> <set>", "SUNIONSTORE <set> <set> <set?>", "SDIFFSTORE <set> <set> <set> <set?>",
	"SINTERCARD 2 <set> <set> LIMIT <limit>", "SINTERCARD <rank> <set>", "SSCAN <set> 0 COUNT 100",
	"SSCAN <set> 0 MATCH <glob> COUNT 100",
	"XADD <stream> <new> <member> <value>", "XADD <stream> <new> <member> <value> <member> <value>",
	"XADD <stream> <xoption?> <xoption?> <limit?> <new> <member> <value>", "XADD log * <member> <value>",
	"XADD <stream> MAXLEN <limit> <new> <member> <value>", "XLEN <key>", "XRANGE <stream> <id> <id>",
	"XRANGE <stream> - + COUNT <limit>", "XREVRANGE <stream> <id> <id>", "XREVRANGE <stream> + - COUNT <limit>",
	"XTRIM <stream> MAXLEN <limit>", "XTRIM <stream> MAXLEN ~ <limit> LIMIT <limit>", "XTRIM <stream> MINID <id>",
	"XTRIM log MINID ~ <id>", "XTRIM <stream> <xoption> <xoption?> <id>", "XDEL <stream> <id> <id>", "XSETID stream <new>",
	"XSETID stream 3-1 ENTRIESADDED <limit> MAXDELETEDID <id>", "XREAD STREAMS <stream> <id>",
	"XREAD COUNT <limit> STREAMS <stream> <stream> <id> <id>",
	"PING <text?>", "ECHO <text>", "FLUSHALL <text?>", "FLUSHDB",
	"CONFIG SET maxmemory <full>", "CONFIG GET maxmemory", "SCRIPT EXISTS <digest> <digest>", "SCRIPT LOAD <source>",
	"EVALSHA <digest> 1 <key> <member>", "EVALSHA_RO <digest> 1 <key>", "EVAL <source> <rank> <key>",
	"EVAL_RO <source> 1 <key>",
}

// notDrawn are commands whose replies a server gives as it pleases.
var notDrawn = map[string]string{
	"auth":            "of the connection",
	"bzmpop":          "a client may have to wait",
	"bzpopmax":        "a client may have to wait",
	"bzpopmin":        "a client may have to wait",
	"blmove":          "keeps a client waiting",
	"blmpop":          "keeps a client waiting",
	"blpop":           "keeps a client waiting",
	"brpop":           "keeps a client waiting",
	"brpoplpush":      "keeps a client waiting",
	"client|id":       "a number that the server chooses",
	"client|setname":  "of the connection",
	"discard":         "of the connection",
	"exec":            "of the connection",
	"multi":           "of the connection",
	"unwatch":         "of the connection",
	"watch":           "of the connection",
	"cluster|keyslot": "answers although there is no cluster",
	"command":         "is about other commands than those of a server",
	"command|count":   "is about other commands than those of a server",
	"command|docs":    "is about other commands than those of a server",
	"command|getkeys": "has no key, and names commands",
	"command|info":    "is about other commands than those of a server",
	"command|list":    "is about other commands than those of a server",
	"dbsize":          "counts what has expired until the server comes round to collecting it",
	"hello":           "of the connection",
	"hrandfield":      "chooses at random",
	"info":            "has more on a server",
	"keys":            "in no order",
	"memory|usage":    "a number that only a server knows",
	"object|encoding": "is not what it was after differ.Pair.Align",
	"randomkey":       "chooses at random",
	"scan":            "in no order",
	"script|flush":    "comes before each sequence",
	"select":          "there is database 0 only",
	"spop":            "chooses at random",
	"srandmember":     "chooses at random",
	"time":            "brackets each command",
	"zrandmember":     "chooses at random",
}

// sources are scripts by themselves, for SCRIPT LOAD and the digests.
var sources = []string{
	"return {KEYS, ARGV}", "return redis.call('GET', KEYS[1])", "return redis.pcall('INCR', KEYS[1])", "return nosuch",
	"local t = redis.call('TIME') return string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))",
}

// step is one command, or several that a script calls.
type step struct {
	script   string // how the script calls: call or pcall; empty: no script
	readOnly bool
	commands [][]string
}

// allKeys are declared by every script that is drawn, so that none touches another.
var allKeys = pools["key"]

func (s step) args() []string {
	if s.script == "" {
		return s.commands[0]
	}
	var source strings.Builder
	source.WriteString("local r = {}\n")
	for i, command := range s.commands {
		fmt.Fprintf(&source, "r[%d] = redis.%s(", i+1, s.script)
		for j, arg := range command {
			if j > 0 {
				source.WriteString(", ")
			}
			source.WriteString(luaString(arg))
		}
		source.WriteString(")\n")
	}
	source.WriteString("return r")
	name := "EVAL"
	if s.readOnly {
		name = "EVAL_RO"
	}
	return append([]string{name, source.String(), fmt.Sprint(len(allKeys))}, allKeys...)
}

func luaString(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '\'' || c == '\\' {
			fmt.Fprintf(&b, "\\%03d", c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

func draw(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func randomCommand(r *rand.Rand) []string {
	var args []string
	for _, word := range strings.Split(draw(r, shapes), " ") {
		name, isPool := strings.CutPrefix(word, "<")
		if !isPool {
			args = append(args, word)
			continue
		}
		name = strings.TrimSuffix(name, ">")
		name, optional := strings.CutSuffix(name, "?")
		switch {
		case optional && r.IntN(2) == 0:
		case name == "source":
			args = append(args, draw(r, sources))
		case name == "digest":
			args = append(args, fmt.Sprintf("%x", sha1.Sum([]byte(draw(r, sources)))))
		default:
			args = append(args, draw(r, pools[name]))
		}
	}
	return args
}

// whole are commands that are left as they are: how Lua's compiler refuses a
// source, and what Redis makes of an odd amount of memory, is not modelled. A
// ZMPOP of very many keys would have it read arguments that are not there.
var whole = []string{"EVAL", "EVAL_RO", "SCRIPT", "CONFIG", "ZMPOP"}

// spoil takes an argument away, adds one, or puts one where it does not belong.
func spoil(r *rand.Rand, args []string) []string {
	if slices.Contains(whole, args[0]) {
		return args
	}
	names := []string{"key", "value", "int", "score", "bound", "member", "zoption", "soption", "roption"}
	foreign := draw(r, pools[draw(r, names)])
	at := 1 + r.IntN(len(args))
	switch r.IntN(3) {
	case 0:
		return slices.Insert(slices.Clone(args), at, foreign)
	case 1:
		return args[:max(1, len(args)-1)]
	}
	if at < len(args) {
		args[at] = foreign
	}
	return args
}

// randomStep draws a step.
func randomStep(r *rand.Rand) step {
	var s step
	n := 1
	switch r.IntN(10) {
	case 0, 1, 2:
		s.script, n = "pcall", 1+r.IntN(4)
	case 3:
		s.script, n = "call", 1+r.IntN(4)
	}
	s.readOnly = s.script != "" && r.IntN(8) == 0
	for len(s.commands) < n {
		args := randomCommand(r)
		if r.IntN(8) == 0 {
			args = spoil(r, args)
		}
		switch {
		case s.script != "" && differ.Unordered(args):
		case leftOpen(args):
		default:
			s.commands = append(s.commands, args)
		}
	}
	return s
}

// leftOpen is true of a command after which the sides may differ: one that gives
// lex other scores than 0, as Redis leaves open what a range by member returns
// then; a part of a set; and, for what Align cannot write, a trim of whole nodes
// whose last entry may be deleted and another than the stream's last ID says.
func leftOpen(args []string) bool {
	if len(args) < 3 {
		return false
	}
	switch args[0] {
	case "ZREMRANGEBYLEX":
		return args[1] == "z"
	case "RENAME", "RENAMENX", "COPY":
		return args[2] == "lex"
	case "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "ZRANGESTORE":
		return args[1] == "lex"
	case "ZADD", "ZINCRBY":
		for pair := range slices.Chunk(args[2:], 2) {
			if args[1] == "lex" && pair[0] != "0" {
				return true
			}
		}
	case "SSCAN":
		return args[2] != "0" || args[len(args)-1] != "100"
	case "XSETID":
		return args[1] == "log"
	case "XADD", "XTRIM":
		return args[1] != "log" && slices.Contains(args, "MINID") && slices.Contains(args, "~")
	}
	return false
}

// TestRandomAgainstServer compares sequences of random commands, given by a
// client and by scripts: the reply of each, and the keyspace at the end of each
// sequence. One that differs is shrunk.
func TestRandomAgainstServer(t *testing.T) {
	onServersOf70(t, func(t *testing.T, pair *differ.Pair) {
		seed := *randomSeed
		if seed == 0 {
			seed = uint64(time.Now().UnixNano())
		}
		t.Logf("reproduce with -random-seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		const length = 100
		for range *randomCommands / length {
			steps := make([]step, length)
			for i := range steps {
				steps[i] = randomStep(r)
			}
			first := runSteps(pair, steps)
			if first == nil {
				continue
			}
			steps = shrink(steps, func(steps []step) bool { return runSteps(pair, steps) != nil })
			var commands strings.Builder
			for _, s := range steps {
				fmt.Fprintf(&commands, "%q\n", s.args())
			}
			t.Fatalf("after these commands, of seed %d:\n%s%v\nbefore it was shrunk:\n%v",
				seed, &commands, runSteps(pair, steps), first)
		}
	})
}

// runSteps runs the steps on an empty keyspace.
func runSteps(pair *differ.Pair, steps []step) error {
	if err := pair.Reset(); err != nil {
		return err
	}
	for _, s := range steps {
		if err := pair.Same(s.args()...); err != nil {
			return err
		}
	}
	return pair.SameKeyspace()
}

// shrink shrinks a failing sequence, then the scripts in it, then the commands.
func shrink(steps []step, fails func([]step) bool) []step {
	steps = differ.Shrink(steps, fails)
	with := func(i int, s step) []step {
		return slices.Concat(steps[:i], []step{s}, steps[i+1:])
	}
	for i, s := range steps {
		s.commands = differ.Shrink(s.commands, func(commands [][]string) bool {
			s.commands = commands
			return len(commands) > 0 && fails(with(i, s))
		})
		if plain := (step{commands: s.commands}); len(s.commands) == 1 && fails(with(i, plain)) {
			s = plain
		}
		for j, args := range s.commands {
			s.commands[j] = differ.Shrink(args, func(args []string) bool {
				if len(args) == 0 || slices.Contains(whole, s.commands[j][0]) {
					return false
				}
				shorter := s
				shorter.commands = slices.Concat(s.commands[:j], [][]string{args}, s.commands[j+1:])
				return fails(with(i, shorter))
			})
		}
		steps[i] = s
	}
	return differ.Shrink(steps, fails)
}

// TestEveryCommandIsDrawn holds the shapes against the command table.
func TestEveryCommandIsDrawn(t *testing.T) {
	drawn := map[string]bool{}
	for _, shape := range shapes {
		words := strings.Fields(strings.ToLower(shape))
		drawn[words[0]] = true
		if len(words) > 1 {
			drawn[words[0]+"|"+words[1]] = true
		}
	}
	names := commandNames()
	for _, name := range names {
		hasSubcommands := slices.ContainsFunc(names, func(other string) bool { return strings.HasPrefix(other, name+"|") })
		if hasSubcommands && !drawn[name] {
			continue // each of them is drawn, or has a reason
		}
		if drawn[name] == (notDrawn[name] != "") {
			t.Errorf("%s: drawn: %t, reason not to: %q", name, drawn[name], notDrawn[name])
		}
	}
}
