package luatest

import (
	"math/big"
	"strings"
)

// INCRBYFLOAT and its kin calculate with C's long double, which on amd64 has a
// mantissa of 64 bits: a big.Float of that precision does the same, apart from
// the range of the exponent.
const (
	longDoubleBits     = 64
	longDoubleMaxExp   = 16384
	longDoubleMinExp   = -16445
	longDoubleMaxBytes = 5 * 1024

	// exactBits are enough to read any text of that length before it is rounded.
	exactBits = 1 << 15
)

// parseLongDouble reads all of s as Redis does with C's strtold: an infinity is
// one only by name, and a number that would be rounded to 0 is none.
func parseLongDouble(s string) (*big.Float, bool) {
	if s == "" || len(s) >= longDoubleMaxBytes || floatPrefix(s) != len(s) {
		return nil, false
	}
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case "nan":
		return nil, false
	case "inf", "infinity":
		return new(big.Float).SetInf(s[0] == '-'), true
	}
	x, _, err := big.ParseFloat(s, 0, exactBits, big.ToNearestEven)
	if err != nil {
		return nil, false
	}
	x.SetPrec(longDoubleBits)
	return x, isFinite(x) && (x.Sign() == 0 || x.MantExp(nil) >= longDoubleMinExp)
}

// isFinite reports whether x is no infinity in the range of a long double.
func isFinite(x *big.Float) bool { return !x.IsInf() && x.MantExp(nil) <= longDoubleMaxExp }

// addLongDouble returns the sum as Redis stores it: with 17 decimals, without
// the zeros at their end. It reports whether the sum is finite.
func addLongDouble(a, b *big.Float) (string, bool) {
	if a.IsInf() || b.IsInf() {
		return "", false
	}
	sum := new(big.Float).SetPrec(longDoubleBits).Add(a, b)
	text := strings.TrimRight(strings.TrimRight(sum.Text('f', 17), "0"), ".")
	if text == "-0" {
		text = "0"
	}
	return text, isFinite(sum)
}
