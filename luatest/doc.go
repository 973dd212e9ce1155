// Package luatest runs Redis Lua scripts offline, like Redis 7.0.15. It lets you test
// scripts, and the Go code that calls them, without a server and on a clock that the
// test sets.
//
//	//go:embed limit.lua
//	var limit string
//
//	func TestLimit(t *testing.T) {
//		engine := luatest.New()
//		engine.Expect(t, "1", limit, []string{"calls:ann"}, 2, 60_000) // one more call is left
//		engine.Expect(t, "0", limit, []string{"calls:ann"}, 2, 60_000)
//		engine.Expect(t, "-1", limit, []string{"calls:ann"}, 2, 60_000)
//		engine.Advance(61 * time.Second) // the window has expired
//		engine.Expect(t, "1", limit, []string{"calls:ann"}, 2, 60_000)
//	}
//
// [Engine.Expect] compares a script's reply, in the form of [Text], with the expected
// one. [Engine.Run] returns the reply of a script as a Go value, and [Engine.Do] the
// reply of any command: nil, an int64, a string, a [Status], an [Error] or an []any of
// these. [Engine.Dump] returns the keyspace as text. The package's example tests a
// script from a file and shows which of its lines have run.
//
// [Engine.Client] returns a go-redis client of the engine. [Engine.Listen] opens an
// address where clients in any language connect with RESP2. [Live] makes an engine for
// use outside tests: it runs on the machine's clock and keeps no trace.
//
// # What is modelled
//
// Scripts run with EVAL, EVALSHA and their _RO forms. They have only the globals of
// Redis, which are read-only except for the items of KEYS and ARGV. Values are converted
// as Redis converts them. Scripts get the globals below, and Redis's own
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
// The engine also models:
//
//   - Keys that expire to the millisecond on the engine's clock. TIME returns that
//     clock, which stands still while a script runs.
//   - Refusals, in the order and words of Redis: full memory
//     ([Engine.SetMemoryFull], or CONFIG SET maxmemory), a replica
//     ([Engine.SetReplica]), hash slots ([Engine.SetCluster]), a user without
//     permission ([Engine.SetUser]).
//   - Failures that a test asks for: commands that fail or are late
//     ([Engine.Intercept]), one call of a script that fails ([Engine.FailCall]), a limit
//     on calls ([Engine.SetCallBudget]), declared keys ([Engine.SetDeclaredKeysOnly]).
//   - Transactions. Each connection has its own, and so does Do. WATCH does not notice a
//     write that changes nothing, such as an HSET of the same value.
//   - SCAN, SSCAN, HSCAN and ZSCAN, which may return an element twice when a table
//     shrinks during the scan.
//   - INCRBYFLOAT and HINCRBYFLOAT, with the 80-bit numbers of amd64.
//   - The settings of cjson and the state of math.random, which last from one script to
//     the next, until SCRIPT FLUSH. A clone starts with fresh ones.
//
// The package's tests compare all this with a redis-server, byte for byte. They also run
// the cases of Redis's tests/unit/scripting.tcl that the engine models.
//
// # What is measured
//
//   - Which lines and branches of a script have run: [Engine.SetCoverage]. A [Coverage]
//     reports them by file, writes them for lcov or requires a share in a test.
//   - Where a script depends on the Lua version or the platform, with all lines at once:
//     [Engine.SetPortable].
//   - Which commands a script calls, with their replies, and how much work it does:
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
// Redis 7.0.15 crashes when a script raises such a table. It has getfenv, setfenv and
// newproxy only without the security fixes that distributions have added. Every other
// Redis command that the engine lacks also answers that it is not modelled, and a command
// that Redis does not know is unknown, in Redis's words. Further limits:
//
//   - A user has no selectors, and [Engine.SetUser] applies to all connections.
//   - There is no replication and no append-only file: redis.set_repl and
//     redis.replicate_commands check their arguments and do nothing.
//   - INFO has no counts of calls or errors. Its used_memory, like MEMORY USAGE, grows
//     with the stored data but does not measure memory.
//   - COMMAND describes only the engine's own commands, without tips and key
//     specifications. COMMAND DOCS is empty.
//   - Clients cannot subscribe, so PUBLISH reaches nobody. The engine does not check the
//     channels of a user or their slots.
//   - Scripts have no time limit. The engine stops an endless script after a number of
//     instructions ([Engine.SetMaxInstructions]), and keeps its writes.
//   - The order of KEYS and SCAN is stable here and random on a server. The same holds
//     for the members of a set that has more than 512 or has some that are not integers.
//     CLUSTER KEYSLOT answers even without a cluster.
//   - XADD of ms-* may fail with other words when the millisecond has no number left.
//     Redis says that elements are too large or, after some errors, that the ID is too
//     small.
//   - Ranges by member may differ over a set whose scores differ. Redis leaves them open.
//   - collectgarbage("count") and gcinfo report constant memory use. math.random and the
//     choices of ZRANDMEMBER, SRANDMEMBER and similar commands ([Engine.SetRandomSeed])
//     start from the same seed in each engine.
//
// Scripts run on gopher-lua, which shows in a few places. Each line has a script,
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
//   - A script that Lua 5.1 does not compile is refused in the words of Lua 5.1. Errors
//     of the Lua machine itself have the words of gopher-lua. Their line numbers are
//     right, but may name another line of the same statement.
//   - The engine refuses a function that needs more than 200 registers (Lua 5.1 allows
//     250), one that jumps and has more than 131,071 instructions, and a constructor
//     with keys that could be those of its items from the fiftieth on.
//   - The length of a table with holes may differ. So does the order of pairs, which
//     also shows in the objects of cjson and the maps of cmsgpack.
//   - A table takes memory for all indexes up to its highest, below 67,108,864.
//   - A closure finds nil in the variables of its outer function if that function
//     overflowed the stack and the script caught the error.
//   - A zero loses its sign in additions and subtractions, and when it is multiplied or
//     divided by a positive constant.
//   - The limit of 200 nested C calls applies only to library functions. Metamethods
//     that call themselves go on until the stack overflows.
//   - A metamethod must be a function, not a callable table. __unm gets its operand
//     once; Lua 5.1 passes it twice.
package luatest
