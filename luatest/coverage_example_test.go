package luatest_test

import (
	"fmt"
	"strings"

	"github.com/wildkey/wildkey/luatest"
)

const takeTicket = `local left = redis.call('DECR', KEYS[1])
if left < 0 then
  redis.call('INCR', KEYS[1])
  return redis.error_reply('SOLD out')
end
return left`

// What a test has not run of a script.
func ExampleEngine_SetCoverage() {
	engine, coverage := luatest.New(), luatest.NewCoverage()
	engine.SetCoverage(coverage)
	engine.Do("SET", "tickets", "2")
	engine.Do("EVAL", takeTicket, "1", "tickets")
	for _, script := range coverage.Scripts() {
		fmt.Print(script.Listing())
	}
	// Output:
	//          1     1  local left = redis.call('DECR', KEYS[1])
	//          1     2  if left < 0 then
	// !                 never  left < 0: true
	// !        0     3    redis.call('INCR', KEYS[1])
	// !        0     4    return redis.error_reply('SOLD out')
	//                5  end
	//          1     6  return left
}

// Lua 5.4 writes the quotient as 50.0, and Lua 5.1 as 50.
func ExampleEngine_SetPortable() {
	engine := luatest.New()
	engine.SetPortable(luatest.Everywhere)
	try := func(half string) {
		reply := fmt.Sprint(engine.Do("EVAL", "local half = "+half+"\nreturn half .. '%'", "0", "100"))
		reply, _, _ = strings.Cut(reply, ";")
		fmt.Println(reply)
	}
	try("ARGV[1] / 2")
	try("tonumber(ARGV[1]) / 2")
	try("math.floor(tonumber(ARGV[1]) / 2)")
	// Output:
	// PORTABILITY the string "100" as a number: versions read strings in their own ways
	// PORTABILITY 50, a float, as text: Lua 5.4 writes 50.0
	// 50%
}
