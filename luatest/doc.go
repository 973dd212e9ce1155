// Package luatest runs Redis Lua scripts offline, as Redis 7.0.15 does, so that
// a script, and Go code that calls it, can be tested with no server, on a clock
// that the test sets.
//
//	//go:embed limit.lua
//	var limit string
//
//	func TestLimit(t *testing.T) {
//		engine := luatest.New()
//		engine.Do("SET", "calls:ann", "9")
//		if got := engine.Do("EVAL", limit, "1", "calls:ann", "10"); got != int64(1) {
//			t.Errorf("the tenth call: %v", got)
//		}
//		engine.Advance(time.Minute) // what has expired by now is gone
//		t.Log(engine.Dump())        // the keyspace as text
//	}
//
// [Engine.Do] returns a reply as a Go value: nil, an int64, a string, a
// [Status], an [Error] or an []any of these. [Engine.Client] is a go-redis
// client of the same engine, for code that wants one. It speaks RESP2 over pipes
// in memory. The package's example tests a token bucket.
//
// # What is modelled
//
// Scripts run by EVAL, EVALSHA and their _RO forms have Redis's globals and no
// others, all of them read-only; its conversions of values both ways; and its
// errors, with the line, as a client and as pcall see them:
//
//	functions  __redis__err__handler assert collectgarbage error gcinfo getmetatable ipairs load loadstring next
//	functions  pairs pcall rawequal rawget rawset select setmetatable tonumber tostring type unpack xpcall
//	tables     bit cjson cmsgpack coroutine math redis string struct table _G KEYS ARGV
//	others     _VERSION
//
// Commands have the options, arities and errors of Redis:
//
//	server     CLIENT CLUSTER CONFIG DBSIZE ECHO FLUSHALL FLUSHDB HELLO PING SELECT TIME
//	keys       DEL EXISTS EXPIRE EXPIREAT EXPIRETIME KEYS PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PTTL SCAN TTL TYPE
//	keys       UNLINK
//	strings    APPEND DECR DECRBY GET GETDEL GETEX INCR INCRBY MGET MSET PSETEX SET SETEX SETNX STRLEN
//	zsets      ZADD ZCARD ZCOUNT ZINCRBY ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE
//	zsets      ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK
//	zsets      ZSCAN ZSCORE
//	hashes     HDEL HEXISTS HGET HGETALL HINCRBY HLEN HMGET HSET
//	scripts    EVAL EVALSHA EVALSHA_RO EVAL_RO SCRIPT
//
// And around them:
//
//   - Keys expire to the millisecond, on the engine's clock. TIME is that clock,
//     and stands still while a script runs.
//   - Refusals, in the order and the words of Redis: memory that is full
//     ([Engine.SetMemoryFull], or CONFIG SET maxmemory), a replica
//     ([Engine.SetReplica]), hash slots ([Engine.SetCluster]), a user without
//     permission ([Engine.SetUser]).
//   - What a test asks for: failing calls ([Engine.FailCall]), a limit to their
//     number ([Engine.SetCallBudget]), declared keys ([Engine.SetDeclaredKeysOnly]).
//   - SCAN and ZSCAN may return an element twice when a table shrinks in the
//     middle of a walk.
//   - The settings of cjson, and the state of math.random, last from one script
//     to the next, until SCRIPT FLUSH. Those of a clone start anew.
//
// The package's tests compare all this with a redis-server, byte for byte, and
// go through Redis's own tests of scripting.
//
// # What is measured
//
//   - Which lines and branches of a script have run: [Engine.SetCoverage].
//   - What a script does that differs between versions of Lua, as an error on
//     the line that does it: [Engine.SetPortable].
//   - The commands that it calls, with their replies, and the work that it is:
//     [Engine.Trace], [Engine.Instructions].
//
// # What is not modelled
//
// A command, or a script, on the left, and what the engine answers, in part:
//
//	RPUSH list value                       | ERR unknown command 'RPUSH'
//	SADD set member                        | ERR unknown command 'SADD'
//	XADD stream * field value              | ERR unknown command 'XADD'
//	MULTI                                  | ERR unknown command 'MULTI'
//	SUBSCRIBE channel                      | ERR unknown command 'SUBSCRIBE'
//	FCALL function 0                       | ERR unknown command 'FCALL'
//	SCRIPT KILL                            | ERR unknown subcommand 'KILL'
//	SCRIPT DEBUG YES                       | ERR unknown subcommand 'DEBUG'
//	CLUSTER RESET                          | ERR unknown subcommand 'RESET'
//	ACL WHOAMI                             | ERR unknown command 'ACL'
//	AUTH password                          | ERR unknown command 'AUTH'
//	SELECT 1                               | ERR DB index is out of range
//	HELLO 3                                | NOPROTO
//	return redis.call('BLPOP', 'list', 0)  | ERR Unknown Redis command called from script
//	return redis.call('SORT', 'list')      | ERR Unknown Redis command called from script
//	redis.setresp(3)                       | ERR luatest: RESP3 is not modelled
//	#!lua flags=no-writes                  | ERR luatest: scripts with a shebang are not modelled
//	return getfenv                         | nonexistent global variable 'getfenv'
//	return setfenv                         | nonexistent global variable 'setfenv'
//	return newproxy                        | nonexistent global variable 'newproxy'
//	error({1})                             | ERR luatest: the script raised a table without an err field
//
// Redis 7.0.15 crashes where a script raises such a table, and has the three
// globals only without the security fixes that distributions have added. And:
//
//   - A user has no selectors, and [Engine.SetUser] is for all connections.
//   - Nothing is replicated and there is no append-only file: redis.set_repl and
//     redis.replicate_commands check their arguments and do nothing. INFO's
//     counts of errors, calls and memory are not kept.
//   - The time that a script takes: one that never ends is ended after a number
//     of instructions ([Engine.SetMaxInstructions]), whatever it has written.
//   - The order in which KEYS and SCAN return keys is stable here, and random on
//     a server. CLUSTER KEYSLOT answers although there is no cluster.
//   - Ranges by member over a set whose scores differ, which Redis leaves open.
//   - collectgarbage("count") and gcinfo report a use that does not vary, and
//     math.random starts from the same seed in each engine, as do the choices
//     of ZRANDMEMBER ([Engine.SetRandomSeed]).
//
// Scripts run on gopher-lua, and it shows in these places: a script on the left,
// then what Redis answers, then what the engine does.
//
//	local x x()                                        | attempt to call local 'x' | attempt to call a non-function
//	return nil + 1                                     | arithmetic on a nil value | cannot perform add operation
//	local function f() return 1 + f() end f()          | stack overflow | callstack overflow
//	local t = {1, 2, 3} t[2] = nil t[5] = 5 return #t  | 1 | 5
//	local z = 0 z = -z return tostring(z - 0)          | -0 | 0
//	setmetatable({}, {__newindex = type})[nil] = 1     | table index is nil | nil
//	for k in pairs({b = 1, a = 1}) do return k end     | a | b
//	return tostring(math.acos(2))                      | nan | -nan
//
// In general:
//
//   - Scripts that Lua 5.1 does not compile are refused in its words. Errors
//     raised by the Lua machine itself have gopher-lua's. Their lines are right,
//     but in a statement of several lines it may be another one of these.
//   - A function that needs more than 200 registers, of which Lua 5.1 has 250, is
//     refused, as is one that jumps and has more than 131,071 instructions, and a
//     constructor whose keys could be those of its items from the fiftieth on.
//   - The length of a table with holes may differ, and so does the order of pairs,
//     which shows in the objects of cjson and the maps of cmsgpack.
//   - A table takes memory for all indexes up to its highest, below 67,108,864.
//   - A closure made in a function that has overflowed the stack, and kept after
//     the error has been caught, finds nil in that function's variables.
//   - A zero loses its sign in an addition, a subtraction, and where it is
//     multiplied with, or divided by, a positive constant.
//   - Of 200 calls within each other that C makes, only those of library functions
//     are refused; metamethods that call themselves go on to the stack's end.
//   - A metamethod must be a function, not a table that can be called, and __unm
//     has its operand once, where Lua 5.1 gives it twice.
package luatest
