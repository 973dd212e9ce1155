package luatest

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// luaFormat is string.format, with the verbs, flags, widths and precisions of C.
func luaFormat(l *lua.LState) int {
	format := stringArgument(l, 1)
	var b strings.Builder
	for n := 2; ; {
		before, after, found := strings.Cut(format, "%")
		b.WriteString(before)
		if !found {
			break
		}
		if strings.HasPrefix(after, "%") {
			b.WriteByte('%')
			format = after[1:]
			continue
		}
		spec := parseSpec(after)
		format = after[min(len(after), len(spec.text)+1):]
		switch {
		case n > l.GetTop():
			badArgument(l, n, "no value")
		case len(spec.flags) > maxFlags:
			fail(l, "invalid format (repeated flags)")
		case isDigit(spec.verb):
			fail(l, "invalid format (width or precision too long)")
		case spec.verb == 0 || strings.IndexByte("cdiuoxXeEfgGqs", spec.verb) < 0:
			fail(l, "invalid option '%%%s' to 'format'", cString(string([]byte{spec.verb})))
		}
		b.WriteString(spec.format(l, n))
		n++
	}
	l.Push(lua.LString(b.String()))
	return 1
}

// maxFlags is how many flags a conversion may have, repeated or not.
const maxFlags = 5

// spec is one conversion of a format.
type spec struct {
	text      string // between the percent sign and the verb
	flags     string
	width     int
	precision int // -1 when there is none
	verb      byte
}

func parseSpec(s string) spec {
	i := 0
	digits := func() int {
		start := i
		for i < len(s) && i < start+2 && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		n, _ := strconv.Atoi(s[start:i])
		return n
	}
	for i < len(s) && strings.IndexByte("-+ #0", s[i]) >= 0 {
		i++
	}
	sp := spec{flags: s[:i], precision: -1}
	sp.width = digits()
	if i < len(s) && s[i] == '.' {
		i++
		sp.precision = digits()
	}
	sp.text = s[:i]
	if i < len(s) {
		sp.verb = s[i]
	}
	return sp
}

func (sp spec) format(l *lua.LState, n int) string {
	switch sp.verb {
	case 'q':
		return quote(stringArgument(l, n))
	case 's':
		text := stringArgument(l, n)
		const longest = 100 // from which on Lua leaves a text without a precision alone
		if !strings.Contains(sp.text, ".") && len(text) >= longest {
			return text
		}
		text = cString(text)
		if sp.precision >= 0 {
			text = head(text, sp.precision)
		}
		return sp.pad(text)
	}
	x := numberArgument(l, n)
	switch sp.verb {
	case 'c':
		var c byte // 0 for what is no C int, too
		if math.Abs(x) < 1<<31 {
			c = byte(int(x))
		}
		return cString(sp.pad(string([]byte{c})))
	case 'd', 'i':
		value := truncate(x)
		digits := strconv.FormatUint(magnitude(value), 10)
		return sp.number(sp.sign(value < 0), digits)
	case 'u':
		return sp.number("", strconv.FormatUint(toUint64(x), 10))
	case 'o':
		return sp.number("", strconv.FormatUint(toUint64(x), 8))
	case 'x', 'X':
		digits, prefix := strconv.FormatUint(toUint64(x), 16), ""
		if strings.Contains(sp.flags, "#") && digits != "0" {
			prefix = "0x"
		}
		if sp.verb == 'X' {
			digits, prefix = strings.ToUpper(digits), strings.ToUpper(prefix)
		}
		return sp.number(prefix, digits)
	}
	if text, special := formatSpecial(x); special {
		if text = strings.TrimPrefix(text, "-"); sp.verb < 'a' {
			text = strings.ToUpper(text)
		}
		return sp.pad(sp.sign(math.Signbit(x)) + text)
	}
	text := sp.text
	if sp.precision < 0 {
		text += ".6" // C's default; Go's is the shortest text that reads back
	}
	return fmt.Sprintf("%"+text+string(sp.verb), x)
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// sign is what stands before a number.
func (sp spec) sign(negative bool) string {
	switch {
	case negative:
		return "-"
	case strings.Contains(sp.flags, "+"):
		return "+"
	case strings.Contains(sp.flags, " "):
		return " "
	}
	return ""
}

// number puts an integer together: at least as many digits as the precision
// says, and zeros up to the width only where there is no precision.
func (sp spec) number(prefix, digits string) string {
	if sp.precision == 0 && digits == "0" {
		digits = ""
	}
	least := sp.precision
	if least < 0 && strings.Contains(sp.flags, "0") && !strings.Contains(sp.flags, "-") {
		least = sp.width - len(prefix)
	}
	digits = strings.Repeat("0", max(0, least-len(digits))) + digits
	if sp.verb == 'o' && strings.Contains(sp.flags, "#") && !strings.HasPrefix(digits, "0") {
		digits = "0" + digits
	}
	return sp.pad(prefix + digits)
}

// pad fills text up to the width, in bytes.
func (sp spec) pad(text string) string {
	fill := strings.Repeat(" ", max(0, sp.width-len(text)))
	if strings.Contains(sp.flags, "-") {
		return text + fill
	}
	return fill + text
}

var quoted = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`)

func quote(text string) string { return `"` + quoted.Replace(text) + `"` }
