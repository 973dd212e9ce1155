package luatest

import (
	"strings"
	"testing"
)

func TestMaxInstructions(t *testing.T) {
	for name, source := range map[string]string{
		"loop":               "while true do end",
		"loop around pcall":  "while true do pcall(function() while true do end end) end",
		"call within itself": "local function f() return f() end f()",
		"coroutine":          "coroutine.resume(coroutine.create(function() while true do end end)) return 'gone on'",
		"wrapped coroutine":  "coroutine.wrap(function() while true do end end)()",
		"callback":           "string.gsub('a', '.', function() while true do end end)",
	} {
		t.Run(name, func(t *testing.T) {
			engine := New()
			engine.SetMaxInstructions(10_000)
			failed, _ := run(t, engine, source).(Error)
			if !strings.Contains(string(failed), "the script took more than 10000 instructions") {
				t.Errorf("%s\n got %q\nwant an error", source, failed)
			}
			if reply := run(t, engine, "return 'alive'"); reply != "alive" {
				t.Errorf("afterwards: %v", reply)
			}
		})
	}
}

func TestInstructions(t *testing.T) {
	taken := func(source string) int64 {
		engine := New()
		run(t, engine, "return 1")
		engine.ResetTrace()
		run(t, engine, source)
		return engine.Instructions()
	}
	once, twice := taken("for i = 1, 100 do local x = i end"), taken("for i = 1, 200 do local x = i end")
	if once < 200 || twice-once != once-taken("for i = 1, 0 do local x = i end") {
		t.Errorf("100 rounds take %d instructions, 200 take %d", once, twice)
	}
	if inside := taken("coroutine.wrap(function() for i = 1, 100 do local x = i end end)()"); inside < once {
		t.Errorf("100 rounds in a coroutine take %d instructions, %d outside", inside, once)
	}
	engine := New()
	engine.SetMaxInstructions(once)
	if failed, ok := run(t, engine, "for i = 1, 100 do local x = i end").(Error); ok {
		t.Errorf("with just as many as it takes: %v", failed)
	}
	engine.SetMaxInstructions(once - 1)
	if _, ok := run(t, engine, "for i = 1, 100 do local x = i end").(Error); !ok {
		t.Error("with one less than it takes: no error")
	}
}
