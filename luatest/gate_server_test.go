package luatest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/differ"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/internal/resp"
	"github.com/wildkey/wildkey/luatest"
)

// onRedis70 runs a test on servers of the version whose tables and words the
// gate has.
func onRedis70(t *testing.T, test func(t *testing.T, s *redisserver.Server, admin *redis.Client), options ...string) {
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		if s.Program.Minor() != "redis-7.0" {
			t.Skip("the gate has the words of Redis 7.0")
		}
		test(t, s, s.Client(t))
	}, options...)
}

// connection is one to a server, with replies as the bytes that arrive.
type connection struct{ *resp.Conn }

func dial(t testing.TB, addr string) connection {
	t.Helper()
	conn, err := resp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return connection{conn}
}

func (c connection) do(t testing.TB, args ...string) string {
	t.Helper()
	replies, err := c.Do(args)
	if err != nil {
		t.Fatal(err)
	}
	return replies[0]
}

// steadyCommand draws a command that does not depend on the time: the clocks
// of the engine and the server are not the same here. Its reply has an order.
func steadyCommand(r *rand.Rand) []string {
	for {
		args := randomCommand(r)
		if !differ.Unordered(args) && !slices.ContainsFunc(args, func(arg string) bool {
			return slices.Contains(strings.Fields("SETEX PSETEX EXPIRE PEXPIRE TTL PTTL EX PX 1 *"), arg) || strings.Contains(arg, "TIME")
		}) {
			return args
		}
	}
}

// gateWrappers give a command to the gate in each of the ways that there are.
var gateWrappers = []func(args []string) []string{
	func(args []string) []string { return args },
	func(args []string) []string {
		return append([]string{"EVAL", "return redis.call(unpack(ARGV))", "0"}, args...)
	},
	func(args []string) []string {
		return append([]string{"EVAL", "return redis.pcall(unpack(ARGV))", "0"}, args...)
	},
	func(args []string) []string {
		return append([]string{"EVAL_RO", "return redis.pcall(unpack(ARGV))", "0"}, args...)
	},
	func(args []string) []string {
		return append([]string{"EVAL", "redis.pcall('DEL', 'none') return redis.pcall(unpack(ARGV))", "0"}, args...)
	},
	func(args []string) []string {
		return append([]string{"EVAL", "return redis.acl_check_cmd(unpack(ARGV))", "0"}, args...)
	},
	func(args []string) []string {
		// Of these Redis reads arguments that are not there.
		if slices.Contains(strings.Fields("SET BITFIELD LMPOP SINTERCARD ZMPOP ZUNION ZINTER ZDIFF ZINTERCARD "+
			"ZUNIONSTORE ZINTERSTORE ZDIFFSTORE"), args[0]) || strings.HasPrefix(args[0], "EVAL") {
			return args
		}
		return append([]string{"EVAL", "return redis.acl_check_cmd(ARGV[1])", "0"}, args...)
	},
	func(args []string) []string {
		return append([]string{"EVAL", "return 1", fmt.Sprint(len(args) - 1)}, args[1:]...)
	},
}

// TestUsersAgainstServer gives users with random rules random commands, on the
// engine and on a server, and compares the replies.
func TestUsersAgainstServer(t *testing.T) {
	onRedis70(t, func(t *testing.T, server *redisserver.Server, admin *redis.Client) {
		ctx := context.Background()
		rulePool := []string{
			"~*", "~s", "~t", "~z", "~{t}*", "~l?x", "%R~*", "%W~*", "%R~s", "%W~s", "%RW~h", "%W~z", "%R~z", "allkeys",
			"%R~list", "%W~list", "~set", "%W~ints", "%R~other", "%R~log", "+@list", "+@set", "+@stream", "-@blocking", "+lmove",
			"resetkeys", "+@all", "+@read", "+@write", "+@string", "+@sortedset", "+@hash", "+@keyspace", "+@fast", "+@slow",
			"+@scripting", "-@dangerous", "-@write", "-@slow", "-get", "-set", "-zadd", "-del", "-eval", "+eval", "+eval_ro",
			"+get", "+set", "-config", "+config|get", "+config|set", "-config|set", "+@connection", "-@connection",
			"allcommands", "nocommands", "reset", "+@bitmap", "+@pubsub", "-@blocking", "-bitfield", "+zunionstore", "-copy",
			"+geoadd", "-acl|whoami", "+lolwut", "-object|freq", "+touch",
		}
		extra := []string{
			"PING", "CONFIG GET nosuch", "CLIENT SETNAME x", "SELECT 0", "ECHO x", "FLUSHALL", "nosuch x", "SET <key> v GET",
		}
		phrases := []string{
			"NOPERM", "executing the script can't run", "executing the script can't access", "access one of the keys", "OK",
		}
		engine := luatest.New()
		engine.SetNow(time.Now())
		seen := map[string]int{}
		for seed := range uint64(150) {
			r := rand.New(rand.NewPCG(1, seed))
			rules := []string{"~*", "+@all"}
			if r.IntN(2) == 0 {
				rules = []string{"+eval", "+eval_ro"}
			}
			for range r.IntN(5) {
				rules = append(rules, rulePool[r.IntN(len(rulePool))])
			}
			setup := append([]any{"ACL", "SETUSER", "somebody", "reset", "on", "nopass", "allchannels"}, anySlice(rules)...)
			wantErr := admin.Do(ctx, setup...).Err()
			gotErr := engine.SetUser(strings.Join(rules, " "))
			if (wantErr == nil) != (gotErr == nil) {
				t.Fatalf("%q: %v, the server says %v", rules, gotErr, wantErr)
			}
			if gotErr != nil {
				if err := engine.SetUser("~* +@all"); err != nil {
					t.Fatal(err)
				}
				continue
			}
			user := dial(t, server.Addr)
			if !slices.Contains(rules, "reset") { // a user who is off cannot come in
				user.do(t, "AUTH", "somebody", "x")
			} else {
				continue
			}
			for range 60 {
				args := steadyCommand(r)
				if r.IntN(6) == 0 {
					args = strings.Fields(strings.ReplaceAll(extra[r.IntN(len(extra))], "<key>", pools["key"][r.IntN(3)]))
				}
				if args[0] == "CONFIG" && args[1] == "SET" {
					continue
				}
				args = gateWrappers[r.IntN(len(gateWrappers))](args)
				got, want := string(luatest.AppendReply(nil, engine.Do(args...))), user.do(t, args...)
				if got != want {
					t.Fatalf("seed %d: %q as %q\n got %q\nwant %q", seed, args, rules, got, want)
				}
				for _, phrase := range phrases {
					if strings.Contains(want, phrase) {
						seen[phrase]++
					}
				}
			}
		}
		for _, phrase := range phrases {
			if seen[phrase] < 20 {
				t.Errorf("%q was replied %d times; the rules and commands do not try it", phrase, seen[phrase])
			}
		}
	})
}

func anySlice(items []string) []any {
	all := make([]any, len(items))
	for i, item := range items {
		all[i] = item
	}
	return all
}

// TestReplicaAgainstServer compares with a server that is a replica of itself:
// one that nothing reaches, and that reaches nothing but itself.
func TestReplicaAgainstServer(t *testing.T) {
	onRedis70(t, func(t *testing.T, server *redisserver.Server, client *redis.Client) {
		engine := luatest.New()
		engine.SetNow(time.Now())
		user := dial(t, server.Addr)
		for _, args := range [][]string{{"MSET", "s", "5", "t", "x"}, {"ZADD", "z", "1", "a"}, {"HSET", "h", "f", "v"}} {
			engine.Do(args...)
			user.do(t, args...)
		}
		host, port, _ := strings.Cut(server.Addr, ":")
		if err := client.Do(context.Background(), "REPLICAOF", host, port).Err(); err != nil {
			t.Fatal(err)
		}
		engine.SetReplica(true)
		r := rand.New(rand.NewPCG(1, 1))
		for range 1000 {
			args := gateWrappers[r.IntN(len(gateWrappers))](steadyCommand(r))
			got, want := string(luatest.AppendReply(nil, engine.Do(args...))), user.do(t, args...)
			if got != want {
				t.Fatalf("%q\n got %q\nwant %q\n%s", args, got, want, engine.Dump())
			}
		}
	})
}

// TestClusterAgainstServer compares with a node that has the slot of the key
// that the commands name, and no other.
func TestClusterAgainstServer(t *testing.T) {
	onRedis70(t, func(t *testing.T, server *redisserver.Server, client *redis.Client) {
		ctx := context.Background()
		if err := client.ClusterAddSlots(ctx, luatest.Slot("{t}x")).Err(); err != nil {
			t.Fatal(err)
		}
		for !strings.Contains(client.ClusterInfo(ctx).Val(), "cluster_state:ok") {
			time.Sleep(10 * time.Millisecond)
		}
		engine := luatest.New()
		engine.SetNow(time.Now())
		engine.SetCluster(true)
		user := dial(t, server.Addr)
		for _, args := range [][]string{
			{"SET", "t", "5"}, {"MSET", "t", "1", "s", "2"}, {"MSET", "t", "1", "{t}x", "2"}, {"MGET", "t", "t"},
			{"DEL", "t", "s"}, {"EVALSHA", "nosuch", "2", "t", "s"},
			{"EVAL", "return #KEYS", "2", "t", "s"}, {"EVAL", "return #KEYS", "2", "t", "{t}x"},
			{"EVAL", "return redis.call('GET', 's')", "1", "t"}, {"EVAL", "return redis.pcall('GET', 's')", "1", "t"},
			{"EVAL", "return redis.call('GET', '{t}x')", "1", "t"}, {"EVAL", "return redis.call('MGET', 't', 's')", "1", "t"},
			{"EVAL", "return redis.call('MGET', 't', 's')", "0"}, {"EVAL", "return redis.call('GET', 't') or 'none'", "0"},
			{"EVAL", "redis.call('SET', 't', '1') return redis.call('SET', 's', '1')", "1", "t"},
			{"EVAL", "redis.pcall('SET', 's', '1') return redis.call('SET', 't', '1')", "1", "t"},
			{"EVAL_RO", "return redis.call('SET', 's', '1')", "1", "t"}, {"EVAL", "return redis.call('ECHO', 's')", "1", "t"},
			{"EVAL", "return 1", "x", "t", "s"}, {"EVAL", "return 1", "9", "t", "s"},
			{"SELECT", "0"}, {"SELECT", "99"}, {"GET", "t"}, {"RENAME", "t", "s"}, {"COPY", "t", "{t}x", "DB", "0"},
			{"COPY", "t", "{t}x", "DB", "1"}, {"COPY", "t", "{t}x", "DB", "99"}, {"COPY", "t", "{t}y", "DB", "1", "no"},
			{"ZUNIONSTORE", "s", "1", "t"}, {"ZUNIONSTORE", "t", "1", "{t}z"}, {"BITOP", "NOT", "t", "s"},
		} {
			got, want := string(luatest.AppendReply(nil, engine.Do(args...))), user.do(t, args...)
			if got != want {
				t.Errorf("%q\n got %q\nwant %q", args, got, want)
			}
		}
	}, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
}
