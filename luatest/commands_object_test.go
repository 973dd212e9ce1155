package luatest_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

// TestEncodingAgainstServer compares how a value is kept after commands that
// make it, which are separated by semicolons.
func TestEncodingAgainstServer(t *testing.T) {
	long, longer := strings.Repeat("x", 44), strings.Repeat("x", 65)
	onRedis70(t, func(t *testing.T, server *redisserver.Server, _ *redis.Client) {
		for _, commands := range []string{
			"SET k 5", "SET k 05", "SET k x", "SET k " + long, "SET k x" + long, "SET k -9223372036854775808",
			"SET k 9223372036854775808", "SET k 12345678901234567890123", "SETNX k 1", "GETSET k 1", "MSET k 1", "MSETNX k x",
			"SETEX k 100 1", "APPEND k 5", "APPEND k x", "SET k 5;APPEND k 6", "SET k x;APPEND k y", "APPEND k x" + long,
			"SET k 5;APPEND k 6;INCR k", "INCR k", "SET k 5;DECRBY k 7", "INCRBYFLOAT k 5", "SET k 5;INCRBYFLOAT k 0.5",
			"INCRBYFLOAT k 1e50", "INCRBYFLOAT k 5;INCR k", "SETRANGE k 0 5", "SET k 5;SETRANGE k 0 6",
			"SET k 5;COPY k l;RENAME l k", "SET k x;APPEND k x;COPY k l;RENAME l k", "SETBIT k 3 1", "SET k 5;SETBIT k 3 1",
			"BITFIELD k SET u8 0 1", "SET k 5;BITFIELD k GET u8 0", "SET k 5;BITFIELD k OVERFLOW FAIL INCRBY u2 0 9",
			"SET l x;BITOP NOT k l", "SET k 1;GETEX k PERSIST", "HSET k f v", "HSET k f " + longer, "HSET k " + longer + " v",
			"HSET k f " + longer + ";HSET k f v", "HINCRBYFLOAT k f 1e70", "HSET k f v;COPY k l;RENAME l k", "ZADD k 1 a",
			"ZADD k 1 " + longer, "ZADD k 1 a 1 " + longer + ";ZREM k " + longer,
			"ZADD l 1 a 1 " + longer + ";ZUNIONSTORE k 1 l", "ZADD l 1 a 2 " + longer + ";ZRANGESTORE k l 0 0",
			"ZADD l 1 a 2 " + longer + ";ZADD m 1 a;ZINTERSTORE k 2 l m",
		} {
			engine := luatest.New()
			conn := dial(t, server.Addr)
			conn.do(t, "FLUSHALL")
			for _, command := range append(strings.Split(commands, ";"), "OBJECT ENCODING k") {
				args := strings.Fields(command)
				got, want := string(luatest.AppendReply(nil, engine.Do(args...))), conn.do(t, args...)
				if got != want {
					t.Errorf("%s: %s\n got %q\nwant %q", commands, command, got, want)
				}
			}
		}
	})
}
