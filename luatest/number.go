package luatest

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// formatFloat prints x as C's printf does with %.<digits>g.
func formatFloat(x float64, digits int) string {
	if s, special := formatSpecial(x); special {
		return s
	}
	return strconv.FormatFloat(x, 'g', digits, 64)
}

// formatSpecial prints infinities and NaN as glibc does, a NaN with its sign.
func formatSpecial(x float64) (string, bool) {
	var s string
	switch {
	case math.IsInf(x, 0):
		s = "inf"
	case math.IsNaN(x):
		s = "nan"
	default:
		return "", false
	}
	if math.Signbit(x) {
		s = "-" + s
	}
	return s, true
}

// nan is C's, which is not math.NaN: its bits show when they are packed.
var nan = math.Float64frombits(0x7ff8 << 48)

// parseFloat reads all of s as C's strtod does: leading white space, decimal
// or hexadecimal digits, inf and nan. Out of range is an infinity.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s == "" || strings.Contains(s, "_") {
		return 0, false
	}
	digits := strings.ToLower(strings.TrimLeft(s, "+-"))
	if len(s)-len(digits) > 1 {
		return 0, false
	}
	if strings.HasPrefix(digits, "0x") && !strings.Contains(digits, "p") {
		s += "p0" // strconv requires the exponent that C leaves out
	}
	if digits == "nan" {
		sign := 1.0
		if s[0] == '-' {
			sign = -1
		}
		return math.Copysign(nan, sign), true
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil && err.(*strconv.NumError).Err != strconv.ErrRange {
		return 0, false
	}
	return x, true
}

// floatPrefix returns the length of the longest prefix of s that C's strtod
// reads: an optional sign, then digits, an infinity or a NaN. There is no white
// space before it.
func floatPrefix(s string) int {
	return len(floatSyntax.FindString(s))
}

var floatSyntax = regexp.MustCompile(`(?i)^[-+]?(0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(p[-+]?[0-9]+)?|` +
	`([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|inf(inity)?|nan)`)

// parseScore reads a score or an increment: a float without white space
// before it, within range, and not NaN.
func parseScore(s string) (float64, bool) {
	if s == "" || strings.TrimLeft(s, " \t\n\v\f\r") != s {
		return 0, false
	}
	x, ok := parseFloat(s)
	if !ok || math.IsNaN(x) {
		return 0, false
	}
	if math.IsInf(x, 0) && !strings.Contains(strings.ToLower(s), "inf") {
		return 0, false
	}
	return x + 0, true
}

// parseInt reads a 64-bit integer in its one canonical spelling: no plus sign,
// no leading zeros, no -0.
func parseInt(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != s {
		return 0, false
	}
	return n, true
}

// parseAtLeast is parseInt for a number with a lower limit. The refusal is for
// what is no integer, too.
func parseAtLeast(s string, least int64, refusal Error) (int64, Error) {
	n, ok := parseInt(s)
	if !ok || n < least {
		return 0, refusal
	}
	return n, ""
}
