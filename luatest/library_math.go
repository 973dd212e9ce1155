package luatest

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

func (s *sandbox) mathLibrary() map[string]lua.LGFunction {
	const degree = math.Pi / 180
	functions := map[string]lua.LGFunction{
		"frexp": func(l *lua.LState) int {
			fraction, exponent := math.Frexp(numberArgument(l, 1))
			l.Push(lua.LNumber(fraction))
			l.Push(lua.LNumber(exponent))
			return 2
		},
		"ldexp": func(l *lua.LState) int {
			l.Push(lua.LNumber(math.Ldexp(numberArgument(l, 1), intArgument(l, 2))))
			return 1
		},
		"max": extreme(func(a, b float64) bool { return a > b }),
		"min": extreme(func(a, b float64) bool { return a < b }),
		"modf": func(l *lua.LState) int {
			x := numberArgument(l, 1)
			whole := math.Trunc(x)
			fraction := math.Copysign(x-whole, x)
			if math.IsInf(x, 0) {
				fraction = math.Copysign(0, x)
			}
			l.Push(lua.LNumber(whole))
			l.Push(lua.LNumber(fraction))
			return 2
		},
		"random":     s.mathRandom,
		"randomseed": s.mathRandomSeed,
	}
	for name, f := range map[string]func(float64) float64{
		"abs": math.Abs, "acos": math.Acos, "asin": math.Asin, "atan": math.Atan, "ceil": math.Ceil, "cos": math.Cos,
		"cosh": math.Cosh, "exp": math.Exp, "floor": math.Floor, "log": math.Log, "log10": math.Log10, "sin": math.Sin,
		"sinh": math.Sinh, "sqrt": math.Sqrt, "tan": math.Tan, "tanh": math.Tanh,
		"deg": func(x float64) float64 { return x / degree },
		"rad": func(x float64) float64 { return x * degree },
	} {
		functions[name] = func(l *lua.LState) int {
			x := numberArgument(l, 1)
			return pushResult(l, f(x), math.IsNaN(x))
		}
	}
	for name, f := range map[string]func(x, y float64) float64{
		"atan2": math.Atan2, "fmod": math.Mod, "mod": math.Mod, "pow": power,
	} {
		functions[name] = func(l *lua.LState) int {
			x, y := numberArgument(l, 1), numberArgument(l, 2)
			return pushResult(l, f(x, y), math.IsNaN(x) || math.IsNaN(y))
		}
	}
	return functions
}

// pushResult pushes x. A NaN that comes of no NaN has its sign set, on amd64.
func pushResult(l *lua.LState, x float64, ofNaN bool) int {
	if math.IsNaN(x) && !ofNaN {
		x = math.Copysign(nan, -1)
	}
	l.Push(lua.LNumber(x))
	return 1
}

// extreme keeps, of its arguments, the first that none after it is better than.
func extreme(better func(a, b float64) bool) lua.LGFunction {
	return func(l *lua.LState) int {
		best := numberArgument(l, 1)
		for n := 2; n <= l.GetTop(); n++ {
			if x := numberArgument(l, n); better(x, best) {
				best = x
			}
		}
		l.Push(lua.LNumber(best))
		return 1
	}
}

// drand48 is the generator behind math.random: Redis has its own, so that a
// seed gives the same numbers everywhere.
type drand48 uint64

func newDrand48(seed int32) drand48 { return drand48(uint32(seed))<<16 | 0x330E }

func (d *drand48) next() int32 {
	*d = (*d*0x5DEECE66D + 0xB) & (1<<48 - 1)
	return int32(*d >> 17)
}

func (s *sandbox) mathRandom(l *lua.LState) int {
	r := float64(s.random.next()%math.MaxInt32) / math.MaxInt32
	low, high := 1, 0
	switch l.GetTop() {
	case 0:
		l.Push(lua.LNumber(r))
		return 1
	case 1:
		high = intArgument(l, 1)
	case 2:
		low, high = intArgument(l, 1), intArgument(l, 2)
	default:
		fail(l, "wrong number of arguments")
	}
	if low > high {
		badArgument(l, l.GetTop(), "interval is empty")
	}
	// A C int holds the width of the interval.
	width := float64(int32(high - low + 1))
	l.Push(lua.LNumber(math.Floor(r*width) + float64(low)))
	return 1
}

func (s *sandbox) mathRandomSeed(l *lua.LState) int {
	s.random = newDrand48(int32(intArgument(l, 1)))
	return 0
}
