package luatest

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"
)

// pools are the values that random commands draw their arguments from.
var pools = map[string][]string{
	"key":     {"s", "t", "z", "lex", "h", "none", "{t}x"},
	"value":   {"", "0", "7", "-3", "x", "9223372036854775807", "a longer value"},
	"int":     {"0", "1", "-1", "2", "-2", "5", "x", "9223372036854775807", "-9223372036854775808"},
	"rank":    {"0", "1", "-1", "2", "-2", "5", "-100", "100", "x"},
	"score":   {"0", "1", "-1", "1.5", "0.1", "1e20", "123456789012345678", "inf", "-inf", "nan", "x", "3"},
	"bound":   {"-inf", "+inf", "0", "(0", "1", "(1", "(1.5", "3", "x", "("},
	"lex":     {"-", "+", "[a", "(a", "[b", "(c", "[", "(", "[ab", "x"},
	"member":  {"a", "b", "c", "ab", "abc", "", "\x00", "\xff", "z"},
	"when":    {"32503680000000", "32503680000001", "32503680001500", "1"},
	"zoption": {"NX", "XX", "GT", "LT", "CH", "INCR"},
	"eoption": {"NX", "XX", "GT", "LT", "no"},
	"soption": {"NX", "XX", "GET", "KEEPTTL", "PXAT", "EXAT", "no"},
	"roption": {"REV", "BYSCORE", "BYLEX", "WITHSCORES", "no"},
}

// shapes are command lines; <pool> stands for a value of a pool, <pool?> for
// one or none.
var shapes = []string{
	"GET <key>", "SET <key> <value> <soption?> <soption?> <when?>", "SETNX <key> <value>", "GETDEL <key>",
	"MGET <key> <key> <key>", "MSET <key> <value> <key> <value>", "STRLEN <key>", "APPEND <key> <value>",
	"INCR <key>", "DECR <key>", "INCRBY <key> <int>", "DECRBY <key> <int>", "GETEX <key> PXAT <when>", "GETEX <key> PERSIST",
	"DEL <key>", "UNLINK <key> <key>", "EXISTS <key> <key>", "TYPE <key>", "DBSIZE",
	"PEXPIREAT <key> <when> <eoption?> <eoption?>", "PEXPIRETIME <key>", "EXPIRETIME <key>", "PERSIST <key>",
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
	"CONFIG SET maxmemory <full>", "EVAL <script> 1 <key> <member>", "EVAL_RO <script> 1 <key> <member>",
}

// randomScripts touch one key in several ways.
var randomScripts = []string{
	`return redis.call('GET', KEYS[1])`,
	`return redis.pcall('INCR', KEYS[1])`,
	`return {redis.call('TYPE', KEYS[1]), redis.call('EXISTS', KEYS[1]), redis.call('PEXPIRETIME', KEYS[1])}`,
	`redis.call('DEL', KEYS[1]) return redis.call('ZADD', KEYS[1], 0, ARGV[1])`,
	`return redis.call('ZADD', KEYS[1], 0, ARGV[1])`,
	`local t = redis.pcall('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') if t.err then return t.err end return #t`,
}

func randomCommand(r *rand.Rand) []string {
	var args []string
	for _, word := range strings.Split(shapes[r.Intn(len(shapes))], " ") {
		name, isPool := strings.CutPrefix(word, "<")
		if !isPool {
			args = append(args, word)
			continue
		}
		name = strings.TrimSuffix(name, ">")
		name, optional := strings.CutSuffix(name, "?")
		switch {
		case optional && r.Intn(2) == 0:
		case name == "script":
			args = append(args, randomScripts[r.Intn(len(randomScripts))])
		case name == "full":
			// Full memory is the exception, or nothing else would happen.
			args = append(args, []string{"0", "0", "0", "0", "1"}[r.Intn(5)])
		default:
			args = append(args, pools[name][r.Intn(len(pools[name]))])
		}
	}
	return args
}

// TestRandomAgainstServer compares long sequences of random commands.
func TestRandomAgainstServer(t *testing.T) {
	engine := New()
	defer engine.Close()
	engine.SetNow(time.Now())
	server := dialServer(t)
	for seed := range int64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewSource(seed))
			for _, setup := range [][]string{{"CONFIG", "SET", "maxmemory", "0"}, {"FLUSHALL"}} {
				engine.Do(setup...)
				server.do(t, setup...)
			}
			for i := range 1500 {
				args := randomCommand(r)
				got, want := string(AppendReply(nil, engine.Do(args...))), server.do(t, args...)
				if got != want {
					t.Fatalf("command %d: %q\n got %q\nwant %q\n%s", i, args, got, want, engine.Dump())
				}
			}
		})
	}
}
