package luatest_test

import (
	_ "embed"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/wildkey/wildkey/luatest"
)

// limit lets some calls through in a window of time: testdata/example/limit.lua.
//
//go:embed testdata/example/limit.lua
var limit string

func TestLimit(t *testing.T) {
	engine := luatest.New()
	engine.Expect(t, "1", limit, []string{"calls:ann"}, 2, 60_000) // one more call is left
	engine.Expect(t, "0", limit, []string{"calls:ann"}, 2, 60_000)
	engine.Expect(t, "-1", limit, []string{"calls:ann"}, 2, 60_000)
	engine.Advance(61 * time.Second)
	engine.Expect(t, "1", limit, []string{"calls:ann"}, 2, 60_000)
}

// A script from a file, tested on a clock that moves only when told, and what of
// it that has run.
func Example() {
	engine, coverage := luatest.New(), luatest.NewCoverage()
	engine.SetCoverage(coverage)
	if err := coverage.AddFiles(os.DirFS("testdata/example"), "*.lua"); err != nil {
		fmt.Println(err)
	}
	call := func() string { return luatest.Text(engine.Run(limit, []string{"calls:ann"}, 2, 60_000)) }

	fmt.Println(call(), call())
	fmt.Print(engine.Dump())
	for _, script := range coverage.Scripts() {
		fmt.Printf("%s: %.0f%%, not yet line %d\n", script.Name(), script.Percent(), script.UncoveredLines())
	}
	fmt.Println(call())
	engine.Advance(61 * time.Second)
	fmt.Println(call())
	for _, script := range coverage.Scripts() {
		fmt.Printf("%s: %.0f%%\n", script.Name(), script.Percent())
	}
	// Output:
	// 1 0
	// "calls:ann" string "2" expires 1704067260000
	// limit.lua: 80%, not yet line [8]
	// -1
	// 1
	// limit.lua: 100%
}

// In a test: engine.Expect(t, "ERR no such queue", pop, []string{"queue"}).
func ExampleText() {
	engine := luatest.New()
	fmt.Println(luatest.Text(engine.Run("return {KEYS[1], #ARGV, false}", []string{"queue"}, "a", "b")))
	fmt.Println(luatest.Text(engine.Run("return redis.error_reply('ERR no such queue')", nil)))
	// Output:
	// ["queue" 2 nil]
	// ERR no such queue
}

// How a service takes it when reading fails, and then when it is slow.
func ExampleEngine_Intercept() {
	engine := luatest.New()
	engine.Do("SET", "user:42", "ann", "EX", "10")
	engine.Intercept(func(call luatest.Call) luatest.Error {
		if call.Args[0] == "GET" {
			return "LOADING Redis is loading the dataset in memory"
		}
		return ""
	})
	fmt.Println(engine.Do("GET", "user:42"))
	engine.Intercept(func(luatest.Call) luatest.Error {
		engine.Advance(11 * time.Second)
		return ""
	})
	fmt.Println(engine.Do("GET", "user:42"))
	// Output:
	// LOADING Redis is loading the dataset in memory
	// <nil>
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
