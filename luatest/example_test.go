package luatest_test

import (
	"fmt"
	"time"

	"github.com/wildkey/wildkey/luatest"
)

// tokenBucket lets ARGV[1] calls through a second, by the server's clock.
const tokenBucket = `
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local rate = tonumber(ARGV[1])
local tokens = math.min(rate, (bucket[1] or rate) + (ms - (bucket[2] or ms)) * rate / 1000)
local allowed = tokens >= 1 and 1 or 0
redis.call('HSET', KEYS[1], 'tokens', tokens - allowed, 'at', ms)
redis.call('PEXPIRE', KEYS[1], 1000)
return allowed`

// A token bucket, tested on a clock that moves only when told.
func Example() {
	engine := luatest.New()
	take := func() any { return engine.Do("EVAL", tokenBucket, "1", "bucket:ann", "2") }

	fmt.Println(take(), take(), take())
	engine.Advance(500 * time.Millisecond)
	fmt.Println(take(), take())
	fmt.Print(engine.Dump())
	engine.Advance(1001 * time.Millisecond)
	fmt.Println(engine.Do("EXISTS", "bucket:ann"))
	// Output:
	// 1 1 0
	// 1 0
	// "bucket:ann" hash "at" "1704067200500" "tokens" "0" expires 1704067201500
	// 0
}

// transfer moves ARGV[1] coins, and does it in the wrong order.
const transfer = `
redis.call('INCRBY', KEYS[2], ARGV[1])
redis.call('DECRBY', KEYS[1], ARGV[1])
return redis.status_reply('OK')`

// What is left when a call fails: each one in turn, on a clone of the same
// beginning.
func ExampleEngine_FailCall() {
	start := luatest.New()
	start.Do("MSET", "{bank}ann", "5", "{bank}bob", "0")
	for n := 1; n <= 2; n++ {
		engine := start.Clone()
		engine.FailCall(n, "WRONGTYPE not a purse")
		engine.Do("EVAL", transfer, "2", "{bank}ann", "{bank}bob", "5")
		fmt.Println(engine.Do("MGET", "{bank}ann", "{bank}bob"))
	}
	// Output:
	// [5 0]
	// [5 5]
}

// A script that only reads runs for a user who may do no more.
func ExampleEngine_SetUser() {
	engine := luatest.New()
	engine.Do("SET", "bucket:ann", "7")
	if err := engine.SetUser("~bucket:* +@read +eval_ro"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(engine.Do("EVAL_RO", "return redis.call('GET', KEYS[1])", "1", "bucket:ann"))
	fmt.Println(engine.Do("EVAL_RO", "return redis.call('GET', KEYS[1])", "1", "purse:ann"))
	fmt.Println(engine.Do("DEL", "bucket:ann"))
	// Output:
	// 7
	// NOPERM this user has no permissions to access one of the keys used as arguments
	// NOPERM this user has no permissions to run the 'del' command
}
