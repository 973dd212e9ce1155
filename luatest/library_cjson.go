package luatest

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// cjsonSettings are those of one cjson table. They outlive the script that
// changes them, until SCRIPT FLUSH.
type cjsonSettings struct {
	sparseConvert  bool
	sparseRatio    int
	sparseSafe     int
	encodeMaxDepth int
	decodeMaxDepth int
	precision      int
	keepBuffer     bool
	encodeInvalid  int // an index of invalidNumbers
	decodeInvalid  bool
	sandbox        *sandbox
}

// invalidNumbers says what becomes of NaN and infinities: an error, text that
// is not JSON, or null.
var (
	offOn          = []string{"off", "on"}
	invalidNumbers = []string{"off", "on", "null"}
)

// cjsonTable returns a new table cjson, with its own settings.
func (s *sandbox) cjsonTable() *lua.LTable {
	c := &cjsonSettings{
		sparseRatio: 2, sparseSafe: 10, encodeMaxDepth: 1000, decodeMaxDepth: 1000,
		precision: 14, keepBuffer: true, decodeInvalid: true, sandbox: s,
	}
	l := s.state
	t := l.NewTable()
	for name, f := range map[string]lua.LGFunction{
		"encode":                  c.encode,
		"decode":                  c.decode,
		"encode_max_depth":        integerSetting(&c.encodeMaxDepth, 1, math.MaxInt32),
		"decode_max_depth":        integerSetting(&c.decodeMaxDepth, 1, math.MaxInt32),
		"encode_number_precision": integerSetting(&c.precision, 1, 14),
		"encode_keep_buffer":      boolSetting(&c.keepBuffer),
		"decode_invalid_numbers":  boolSetting(&c.decodeInvalid),
		"encode_invalid_numbers": func(l *lua.LState) int {
			atMost(l, 1)
			c.encodeInvalid = optionArgument(l, 1, invalidNumbers, c.encodeInvalid)
			if c.encodeInvalid < 2 {
				l.Push(lua.LBool(c.encodeInvalid == 1))
			} else {
				l.Push(lua.LString(invalidNumbers[c.encodeInvalid]))
			}
			return 1
		},
		"encode_sparse_array": func(l *lua.LState) int {
			atMost(l, 3)
			return setBool(l, 1, &c.sparseConvert) +
				setInteger(l, 2, &c.sparseRatio, 0, math.MaxInt32) +
				setInteger(l, 3, &c.sparseSafe, 0, math.MaxInt32)
		},
		"new": func(l *lua.LState) int {
			l.Push(s.cjsonTable())
			return 1
		},
	} {
		t.RawSetString(name, l.NewFunction(f))
	}
	t.RawSetString("null", s.null)
	t.RawSetString("_NAME", lua.LString("cjson"))
	t.RawSetString("_VERSION", lua.LString("2.1.0"))
	return t
}

// atMost refuses more than n arguments, and makes them n with nils.
func atMost(l *lua.LState, n int) {
	if l.GetTop() > n {
		badArgument(l, n+1, "found too many arguments")
	}
	l.SetTop(n)
}

func integerSetting(setting *int, low, high int) lua.LGFunction {
	return func(l *lua.LState) int {
		atMost(l, 1)
		return setInteger(l, 1, setting, low, high)
	}
}

func boolSetting(setting *bool) lua.LGFunction {
	return func(l *lua.LState) int {
		atMost(l, 1)
		return setBool(l, 1, setting)
	}
}

// setInteger sets setting to argument n, if there is one, and pushes it.
func setInteger(l *lua.LState, n int, setting *int, low, high int) int {
	if l.Get(n) != lua.LNil {
		value := intArgument(l, n)
		if value < low || value > high {
			badArgument(l, 1, "expected integer between "+formatFloat(float64(low), 14)+" and "+formatFloat(float64(high), 14))
		}
		*setting = value
	}
	l.Push(lua.LNumber(*setting))
	return 1
}

// setBool sets setting to argument n, if there is one, and pushes it.
func setBool(l *lua.LState, n int, setting *bool) int {
	now := 0
	if *setting {
		now = 1
	}
	*setting = optionArgument(l, n, offOn, now) == 1
	l.Push(lua.LBool(*setting))
	return 1
}

// optionArgument returns which of options argument n is, where a boolean is
// one of the first two, or fallback if it is nil.
func optionArgument(l *lua.LState, n int, options []string, fallback int) int {
	switch v := l.Get(n).(type) {
	case *lua.LNilType:
		return fallback
	case lua.LBool:
		if v {
			return 1
		}
		return 0
	}
	text := stringArgument(l, n)
	for i, option := range options {
		if option == text {
			return i
		}
	}
	badArgument(l, n, "invalid option '"+text+"'")
	return 0
}

func oneArgument(l *lua.LState) {
	if l.GetTop() != 1 {
		badArgument(l, 1, "expected 1 argument")
	}
}

func (c *cjsonSettings) encode(l *lua.LState) int {
	oneArgument(l)
	e := &jsonEncoder{cjsonSettings: c, l: l}
	e.value(l.Get(1), 0, 1)
	l.Push(lua.LString(e.out.String()))
	return 1
}

type jsonEncoder struct {
	*cjsonSettings
	l   *lua.LState
	out strings.Builder
}

func (e *jsonEncoder) refuse(v lua.LValue, reason string) {
	fail(e.l, "Cannot serialise %s: %s", v.Type(), reason)
}

// value appends v, which lies in depth tables; used values are on the stack of
// the C function.
func (e *jsonEncoder) value(v lua.LValue, depth, used int) {
	switch v := v.(type) {
	case lua.LString:
		e.string(string(v))
	case lua.LNumber:
		e.number(v)
	case lua.LBool:
		e.out.WriteString(v.String())
	case *lua.LNilType:
		e.out.WriteString("null")
	case *lua.LTable:
		depth++
		if depth > e.encodeMaxDepth || used+3 > stackLimit {
			fail(e.l, "Cannot serialise, excessive nesting (%d)", depth)
		}
		t := e.sandbox.contents(v)
		if n := e.arrayLength(t); n > 0 {
			e.array(t, n, depth, used)
		} else {
			e.object(t, depth, used)
		}
	default:
		if v == e.sandbox.null {
			e.out.WriteString("null")
			return
		}
		e.refuse(v, "type not supported")
	}
}

// arrayLength returns the highest index of a table that is encoded as an
// array, or 0 or less.
func (e *jsonEncoder) arrayLength(t *lua.LTable) int {
	highest, items := 0, 0
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		n, ok := k.(lua.LNumber)
		if !ok || n < 1 || math.Floor(float64(n)) != float64(n) {
			return -1
		}
		if n > lua.LNumber(highest) {
			highest = int(n)
			if n > math.MaxInt32 {
				highest = math.MinInt32 // what a C int makes of it
			}
		}
		items++
	}
	if e.sparseRatio > 0 && highest > items*e.sparseRatio && highest > e.sparseSafe {
		if !e.sparseConvert {
			e.refuse(t, "excessively sparse array")
		}
		return -1
	}
	return highest
}

func (e *jsonEncoder) array(t *lua.LTable, n, depth, used int) {
	for i := 1; i <= n; i++ {
		e.out.WriteByte("[,"[min(i-1, 1)])
		e.value(t.RawGet(lua.LNumber(i)), depth, used+1)
	}
	e.out.WriteByte(']')
}

func (e *jsonEncoder) object(t *lua.LTable, depth, used int) {
	e.out.WriteByte('{')
	comma := ""
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		e.out.WriteString(comma)
		comma = ","
		switch k := k.(type) {
		case lua.LString:
			e.string(string(k))
		case lua.LNumber:
			e.out.WriteByte('"')
			e.number(k)
			e.out.WriteByte('"')
		default:
			e.refuse(k, "table key must be a number or string")
		}
		e.out.WriteByte(':')
		e.value(v, depth, used+2)
	}
	e.out.WriteByte('}')
}

func (e *jsonEncoder) number(n lua.LNumber) {
	x := float64(n)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		switch {
		case e.encodeInvalid == 0:
			e.refuse(n, "must not be NaN or Inf")
		case e.encodeInvalid == 2:
			e.out.WriteString("null")
			return
		case math.IsNaN(x):
			e.out.WriteString("nan")
			return
		}
	}
	e.out.WriteString(formatFloat(x, e.precision))
}

// jsonEscapes are by byte, "" for a byte that stands for itself.
var jsonEscapes = func() (escapes [256]string) {
	const hex = "0123456789abcdef"
	for c := range byte(' ') {
		escapes[c] = `\u00` + string([]byte{hex[c>>4], hex[c&15]})
	}
	escapes[0x7f] = `\u007f`
	for c, letter := range jsonLetters {
		escapes[letter] = `\` + string(rune(c))
	}
	return escapes
}()

// jsonLetters are what may follow a backslash, apart from u, and what it means.
var jsonLetters = map[byte]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func (e *jsonEncoder) string(text string) {
	e.out.WriteByte('"')
	for i := range len(text) {
		if escape := jsonEscapes[text[i]]; escape != "" {
			e.out.WriteString(escape)
		} else {
			e.out.WriteByte(text[i])
		}
	}
	e.out.WriteByte('"')
}
