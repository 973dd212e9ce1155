package luatest

import (
	"fmt"
	"strconv"
	"strings"
)

// TB is the part of testing.TB that the helpers need. It lets programs other than tests
// use this package without importing testing.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Run runs a script like EVAL and counts the keys itself. It returns the reply as Do
// does, including an Error of the script. An argument may be a string, a []byte, a
// number or a bool, and becomes text as in go-redis. Run panics for any other type.
func (e *Engine) Run(script string, keys []string, args ...any) any {
	command := append([]string{"EVAL", script, strconv.Itoa(len(keys))}, keys...)
	for _, arg := range args {
		command = append(command, argumentText(arg))
	}
	return e.Do(command...)
}

func argumentText(arg any) string {
	switch arg := arg.(type) {
	case string:
		return arg
	case []byte:
		return string(arg)
	case bool:
		if arg {
			return "1"
		}
		return "0"
	case float32:
		return strconv.FormatFloat(float64(arg), 'f', -1, 32)
	case float64:
		return strconv.FormatFloat(arg, 'f', -1, 64)
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprint(arg)
	}
	panic(fmt.Sprintf("luatest: an argument of type %T", arg))
}

// Expect runs a script like Run and fails the test unless the reply, as Text formats it,
// is want.
func (e *Engine) Expect(t TB, want, script string, keys []string, args ...any) {
	t.Helper()
	if got := Text(e.Run(script, keys, args...)); got != want {
		t.Errorf("with the keys %q and the arguments %q the script replies\n\t%s\nand not\n\t%s", keys, args, got, want)
	}
}

// Text formats a reply of Do or Run in one line: nil, 10, "text" quoted as in Go, a
// status such as OK or an error as it is, and an array in brackets, such as [1 "a" nil].
func Text(reply any) string {
	switch reply := reply.(type) {
	case nil:
		return "nil"
	case string:
		return strconv.Quote(reply)
	case []any:
		items := make([]string, len(reply))
		for i, item := range reply {
			items[i] = Text(item)
		}
		return "[" + strings.Join(items, " ") + "]"
	}
	return fmt.Sprint(reply)
}
