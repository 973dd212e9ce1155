package luatest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/luatest"
)

func TestRun(t *testing.T) {
	engine := luatest.New()
	got := engine.Run("return {KEYS, ARGV}", []string{"a", "b"}, "text", []byte("bytes"), 7, int64(-7), uint8(9), 1.5, float32(0.1), true, false)
	want := []any{[]any{"a", "b"}, []any{"text", "bytes", "7", "-7", "9", "1.5", "0.1", "1", "0"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := engine.Run("return nosuch", nil); !isError(got) {
		t.Errorf("a script that fails replies %v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a time is an argument")
		}
	}()
	engine.Run("return 1", nil, time.Now())
}

func isError(reply any) bool {
	_, failed := reply.(luatest.Error)
	return failed
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		reply any
		want  string
	}{
		{nil, "nil"}, {int64(10), "10"}, {"10", `"10"`}, {"a\nb", `"a\nb"`}, {luatest.Status("OK"), "OK"},
		{luatest.Error("ERR no"), "ERR no"}, {[]any{}, "[]"}, {[]any{int64(1), []any{"a", nil}}, `[1 ["a" nil]]`},
	} {
		if got := luatest.Text(test.reply); got != test.want {
			t.Errorf("%#v is %s, want %s", test.reply, got, test.want)
		}
	}
}

// failures is a luatest.TB that keeps what a test would be failed with.
type failures []string

func (f *failures) Helper() {}

func (f *failures) Errorf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func TestExpect(t *testing.T) {
	engine, failed := luatest.New(), failures{}
	engine.Expect(&failed, `[1 "a"]`, "return {1, KEYS[1]}", []string{"a"})
	engine.Expect(&failed, "ERR no", "return redis.error_reply('ERR no')", nil)
	if len(failed) > 0 {
		t.Errorf("replies that are expected fail: %q", failed)
	}
	engine.Expect(&failed, "2", "return #ARGV", []string{"k"}, "one")
	want := []string{"with the keys [\"k\"] and the arguments [\"one\"] the script replies\n\t1\nand not\n\t2"}
	if diff := cmp.Diff(want, []string(failed)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestIntercept(t *testing.T) {
	engine := luatest.New()
	var seen []string
	engine.Intercept(func(call luatest.Call) luatest.Error {
		seen = append(seen, call.Args[0])
		switch {
		case call.Args[0] == "GET" && call.Script == "":
			engine.Advance(time.Second) // as a slow network does
			return ""
		case call.Args[0] == "GET":
			return "LOADING not yet"
		case call.Args[0] == "INCR":
			return "OOM"
		}
		return ""
	})
	engine.Do("SET", "k", "v", "PX", "500")
	if got := engine.Do("GET", "k"); got != nil {
		t.Errorf("a second later a key of 500 ms is %v", got)
	}
	if got := engine.Do("INCR", "n"); got != luatest.Error("OOM") {
		t.Errorf("INCR replies %v", got)
	}
	engine.Expect(t, "LOADING not yet", "return redis.pcall('GET', KEYS[1])", []string{"k"})
	engine.Expect(t, "OOM", "redis.call('SET', KEYS[1], 1) return redis.pcall('INCR', KEYS[1])", []string{"n"})
	if want := []string{"SET", "GET", "INCR", "EVAL", "GET", "EVAL", "SET", "INCR"}; !slices.Equal(seen, want) {
		t.Errorf("seen: %q, want %q", seen, want)
	}
	engine.Intercept(nil)
	if got := engine.Do("GET", "n"); got != "1" {
		t.Errorf("what was intercepted was made: %v", got)
	}
}

// A command that waits holds up its own connection alone.
func TestInterceptWaits(t *testing.T) {
	engine := luatest.New()
	defer engine.Close()
	held, release := make(chan bool), make(chan bool)
	engine.Intercept(func(call luatest.Call) luatest.Error {
		if strings.EqualFold(call.Args[0], "get") {
			held <- true
			<-release
		}
		return ""
	})
	client := engine.Client()
	defer client.Close()
	got := make(chan error)
	go func() { got <- client.Get(t.Context(), "k").Err() }()
	<-held
	if reply := engine.Do("PING"); reply != luatest.Status("PONG") {
		t.Errorf("PING replies %v", reply)
	}
	close(release)
	if err := <-got; err == nil || err.Error() != "redis: nil" {
		t.Errorf("GET fails with %v", err)
	}
}
