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
