// Package luatest runs Redis Lua scripts offline, as Redis 7.0.15 does, so that
// a script, and Go code that calls it, can be tested with no server, on a clock
// that the test sets.
//
//	//go:embed limit.lua
//	var limit string
//
//	func TestLimit(t *testing.T) {
//		engine := luatest.New()
//		engine.Expect(t, "1", limit, []string{"calls:ann"}, 2, 60_000) // one more call is left
//		engine.Expect(t, "0", limit, []string{"calls:ann"}, 2, 60_000)
//		engine.Expect(t, "-1", limit, []string{"calls:ann"}, 2, 60_000)
//		engine.Advance(61 * time.Second) // what has expired by now is gone
//		engine.Expect(t, "1", limit, []string{"calls:ann"}, 2, 60_000)
//	}
//
// [Engine.Expect] compares a script's reply as [Text] writes it. [Engine.Run]
// returns it as a Go value, and [Engine.Do] does so for any command: nil, an
// int64, a string, a [Status], an [Error] or an []any of these. [Engine.Dump] is
// the keyspace as text. The package's example tests a script from a file
// and shows which of its lines have run.
//
// [Engine.Client] is a go-redis client of the same engine, for code that wants
// one. [Engine.Listen] gives an address to which clients of any language connect;
// they speak RESP2. [Live] makes an engine for programs that run: on the machine's
// clock, and without a trace.
//
// # What is modelled
//
// Scripts run by EVAL, EVALSHA and their _RO forms have Redis's globals and no
// others, read-only but for the items of KEYS and ARGV; its conversions of values both ways; and its
// errors, with the line, as a client and as pcall see them:
//
//	functions  __redis__err__handler assert collectgarbage error gcinfo getmetatable ipairs load loadstring next
//	functions  pairs pcall rawequal rawget rawset select setmetatable tonumber tostring type unpack xpcall
//	tables     bit cjson cmsgpack coroutine math redis string struct table _G KEYS ARGV
//	others     _VERSION
//
// Commands have the options, arities and errors of Redis:
//
//	server     AUTH CLIENT CLUSTER COMMAND CONFIG DBSIZE DISCARD ECHO EXEC FLUSHALL FLUSHDB HELLO INFO MEMORY MULTI
//	server     PING PUBLISH SELECT SPUBLISH TIME UNWATCH WATCH
//	keys       COPY DEL EXISTS EXPIRE EXPIREAT EXPIRETIME KEYS OBJECT PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PTTL
//	keys       RANDOMKEY RENAME RENAMENX SCAN TOUCH TTL TYPE UNLINK
//	strings    APPEND DECR DECRBY GET GETDEL GETEX GETRANGE GETSET INCR INCRBY INCRBYFLOAT MGET MSET MSETNX
//	strings    PSETEX SET SETEX SETNX SETRANGE STRLEN SUBSTR
//	bits       BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS GETBIT SETBIT
//	zsets      BZMPOP BZPOPMAX BZPOPMIN ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD ZINTERSTORE
//	zsets      ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE
//	zsets      ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX
//	zsets      ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION ZUNIONSTORE
//	hashes     HDEL HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HRANDFIELD HSCAN HSET HSETNX
//	hashes     HSTRLEN HVALS
//	lists      BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH LINDEX LINSERT LLEN LMOVE LMPOP LPOP LPOS LPUSH LPUSHX LRANGE
//	lists      LREM LSET LTRIM RPOP RPOPLPUSH RPUSH RPUSHX
//	sets       SADD SCARD SDIFF SDIFFSTORE SINTER SINTERCARD SINTERSTORE SISMEMBER SMEMBERS SMISMEMBER SMOVE SPOP
//	sets       SRANDMEMBER SREM SSCAN SUNION SUNIONSTORE
//	streams    XADD XDEL XLEN XRANGE XREAD XREVRANGE XSETID XTRIM
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
//   - What a test asks for: commands that fail or are late ([Engine.Intercept]),
//     the failing of one call of a script ([Engine.FailCall]), a limit to their
//     number ([Engine.SetCallBudget]), declared keys ([Engine.SetDeclaredKeysOnly]).
//   - Transactions. Each connection has its own, and so does Do. WATCH does not see
//     a write that changes nothing, such as an HSET of the same value.
//   - SCAN, SSCAN, HSCAN and ZSCAN may return an element twice when a table shrinks
//     in the middle of a walk.
//   - INCRBYFLOAT and HINCRBYFLOAT calculate with the 80-bit numbers of amd64.
//   - The settings of cjson, and the state of math.random, last from one script
//     to the next, until SCRIPT FLUSH. Those of a clone start anew.
//
// The package's tests compare all this with a redis-server, byte for byte, and
// go through the cases of Redis's tests/unit/scripting.tcl that the engine models.
//
// # What is measured
//
//   - Which lines and branches of a script have run: [Engine.SetCoverage], by
//     file, as lcov reads it, or as a share that a test requires ([Coverage]).
//   - What a script does that differs between versions of Lua or platforms, all
//     at once and with the lines: [Engine.SetPortable].
//   - The commands that it calls, with their replies, and the work that it is:
//     [Engine.Trace], [Engine.Instructions].
//
// # What is not modelled
//
// A command, or a script, on the left, and what the engine answers, in part:
//
//	SUBSCRIBE channel                      | ERR luatest: the command SUBSCRIBE of Redis is not modelled
//	GEOADD places 1 2 here                 | ERR luatest: the command GEOADD of Redis is not modelled
//	XGROUP CREATE stream group $ MKSTREAM  | ERR luatest: the command XGROUP CREATE of Redis is not modelled
//	FCALL function 0                       | ERR luatest: the command FCALL of Redis is not modelled
//	SCRIPT KILL                            | ERR luatest: the command SCRIPT KILL of Redis is not modelled
//	CLUSTER RESET                          | ERR luatest: the command CLUSTER RESET of Redis is not modelled
//	ACL WHOAMI                             | ERR luatest: the command ACL WHOAMI of Redis is not modelled
//	OBJECT IDLETIME key                    | ERR luatest: the command OBJECT IDLETIME of Redis is not modelled
//	BLPOP list 0                           | ERR luatest: blocking is not modelled
//	XREAD BLOCK 0 STREAMS stream $         | ERR luatest: blocking is not modelled
//	SELECT 1                               | ERR DB index is out of range
//	COPY key another DB 1                  | ERR DB index is out of range
//	HELLO 3                                | NOPROTO
//	return redis.call('SORT', 'list')      | ERR luatest: the command SORT of Redis is not modelled
//	redis.setresp(3)                       | ERR luatest: RESP3 is not modelled
//	#!lua flags=no-writes                  | ERR luatest: scripts with a shebang are not modelled
//	return getfenv                         | nonexistent global variable 'getfenv'
//	return setfenv                         | nonexistent global variable 'setfenv'
//	return newproxy                        | nonexistent global variable 'newproxy'
//	error({1})                             | ERR luatest: the script raised a table without an err field
//
// Redis 7.0.15 crashes where a script raises such a table, and has the three
// globals only without the security fixes that distributions have added. A
// Redis command that the engine does not have answers that it is not modelled. A
// name that Redis does not know is unknown, in Redis's words. And:
//
//   - A user has no selectors, and [Engine.SetUser] is for all connections.
//   - Nothing is replicated and there is no append-only file: redis.set_repl and
//     redis.replicate_commands check their arguments and do nothing.
//   - INFO has only what the engine knows, and no counts of calls or errors. Its
//     used_memory, and MEMORY USAGE, grow with what is stored and are no measurement.
//   - COMMAND is about the engine's own commands. It leaves out their tips and
//     specifications of keys, and COMMAND DOCS has nothing to say.
//   - Nobody can subscribe: PUBLISH reaches nobody, and the channels that a user
//     may use, or that a cluster has in another slot, are not looked at.
//   - The time that a script takes. An endless script is stopped after a number of
//     instructions ([Engine.SetMaxInstructions]), and what it has written stays.
//   - The order in which KEYS and SCAN return keys is stable here, and random on
//     a server, and so is that of the members of a set that is not all integers,
//     or more than 512. CLUSTER KEYSLOT answers although there is no cluster.
//   - XADD of ms-* where no number is left for the millisecond. Redis says that
//     elements are too large or, after some errors, that the ID is too small.
//   - Ranges by member over a set whose scores differ, which Redis leaves open.
//   - collectgarbage("count") and gcinfo report a use that does not vary, and
//     math.random starts from the same seed in each engine, as do the choices
//     of ZRANDMEMBER, SRANDMEMBER and their kin ([Engine.SetRandomSeed]).
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
