// Package luatest runs Redis Lua scripts offline, as Redis 7.0.15 does, so that
// a script, and Go code that calls it, can be tested with no server, on a clock
// that the test sets.
//
//	engine := luatest.New()
//	engine.SetNow(time.UnixMilli(1_700_000_000_000))
//	reply := engine.Do("EVAL", source, "1", "key", "argument")
//	if failed, ok := reply.(luatest.Error); ok {
//		t.Fatal(failed)
//	}
//	engine.Advance(time.Minute) // what has expired by now is gone
//	t.Log(engine.Dump())        // the keyspace as text
//
// [Engine.Client] is a go-redis client of the same engine, for code that wants
// one. It speaks RESP2 over pipes in memory.
//
// # What is modelled
//
//   - Scripts: EVAL, EVALSHA, their _RO forms and SCRIPT; Redis's sandbox, with
//     its globals and no others, read-only; the table redis; the conversions of
//     values both ways; errors as a client sees them, with the line.
//   - Commands: those of strings, sorted sets, hashes and expiry that scripts
//     are made of, with their options, arities and errors.
//   - Expiry, to the millisecond, on the engine's clock. TIME is that clock, and
//     stands still while a script runs.
//   - Refusals, in the order and the words of Redis: memory that is full
//     ([Engine.SetMemoryFull], or CONFIG SET maxmemory), a replica
//     ([Engine.SetReplica]), hash slots ([Engine.SetCluster]), a user without
//     permission ([Engine.SetUser]).
//   - What a test asks for: failing calls ([Engine.FailCall]), a limit to their
//     number ([Engine.SetCallBudget]), declared keys ([Engine.SetDeclaredKeysOnly]).
//   - SCAN and ZSCAN cursors, which may return an element twice when a table
//     shrinks in the middle of a walk.
//
// The package's tests compare it with a redis-server, byte for byte.
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
//   - The libraries cjson, cmsgpack, struct and bit; scripts with a shebang;
//     RESP3; functions; databases other than 0; transactions; blocking and
//     pub/sub. SELECT of another database is an error.
//   - The commands ACL and AUTH, selectors, and a user for each connection:
//     [Engine.SetUser] is for all of them.
//   - The time that a script takes: one that never ends is ended after a number
//     of instructions ([Engine.SetMaxInstructions]), whatever it has written.
//   - The order in which KEYS and SCAN return keys is stable here, and random on
//     a server. CLUSTER KEYSLOT answers although there is no cluster.
//   - Ranges by member over a set whose scores differ, which Redis leaves open.
//   - A script that raises a table without an err field makes Redis 7.0.15 crash.
//     Here it is an error that says so.
//
// Scripts run on gopher-lua, and it shows in these places:
//
//   - Errors raised by the Lua machine itself, such as for arithmetic on nil or a
//     call of nil, by the compiler, and for the arguments of some library
//     functions have gopher-lua's words. Their lines are right.
//   - The operator .. prints a number with as many digits as it needs, where Lua
//     prints 14: 1e15 .. "" differs. tostring and string.format do not differ.
//   - Arithmetic on strings, and number literals, read a leading 0 as octal.
//   - The length of a table with holes may differ.
//   - The name goto is reserved.
//   - Patterns: %f, and errors for malformed ones. string.char does not check
//     its range, and there is no string.dump.
//   - A closure made in a function that fails, and kept after the error has been
//     caught, may lose its link to that function's variables; so may one that
//     lives through a pcall within a pcall whose error the Lua machine raised.
package luatest
