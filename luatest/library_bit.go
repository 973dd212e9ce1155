package luatest

import (
	"fmt"
	"math"
	"math/bits"

	lua "github.com/yuin/gopher-lua"
)

// bitLibrary is the table bit: operations on numbers as 32 signed bits.
func bitLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"tobit":   bitFunction(func(b uint32) uint32 { return b }),
		"bnot":    bitFunction(func(b uint32) uint32 { return ^b }),
		"bswap":   bitFunction(bits.ReverseBytes32),
		"band":    bitFold(func(a, b uint32) uint32 { return a & b }),
		"bor":     bitFold(func(a, b uint32) uint32 { return a | b }),
		"bxor":    bitFold(func(a, b uint32) uint32 { return a ^ b }),
		"lshift":  bitShift(func(b uint32, n int) uint32 { return b << n }),
		"rshift":  bitShift(func(b uint32, n int) uint32 { return b >> n }),
		"arshift": bitShift(func(b uint32, n int) uint32 { return uint32(int32(b) >> n) }),
		"rol":     bitShift(bits.RotateLeft32),
		"ror":     bitShift(func(b uint32, n int) uint32 { return bits.RotateLeft32(b, -n) }),
		"tohex":   bitToHex,
	}
}

// bitArgument takes a number modulo 2^32, rounded to even. Adding 2^52 + 2^51
// moves its bits to where they can be read.
func bitArgument(l *lua.LState, n int) uint32 {
	const shift = 1<<52 + 1<<51
	return uint32(math.Float64bits(numberArgument(l, n) + shift))
}

func pushBits(l *lua.LState, b uint32) int {
	l.Push(lua.LNumber(int32(b)))
	return 1
}

func bitFunction(f func(uint32) uint32) lua.LGFunction {
	return func(l *lua.LState) int { return pushBits(l, f(bitArgument(l, 1))) }
}

func bitFold(f func(a, b uint32) uint32) lua.LGFunction {
	return func(l *lua.LState) int {
		b := bitArgument(l, 1)
		// From the last to the second, which shows in what is complained about.
		for n := l.GetTop(); n > 1; n-- {
			b = f(b, bitArgument(l, n))
		}
		return pushBits(l, b)
	}
}

func bitShift(f func(b uint32, n int) uint32) lua.LGFunction {
	return func(l *lua.LState) int { return pushBits(l, f(bitArgument(l, 1), int(bitArgument(l, 2)&31))) }
}

func bitToHex(l *lua.LState) int {
	b, digits, format := bitArgument(l, 1), 8, "%08x"
	if l.GetTop() >= 2 {
		digits = int(int32(bitArgument(l, 2)))
	}
	if digits < 0 {
		digits, format = -digits, "%08X"
	}
	text := fmt.Sprintf(format, b)
	l.Push(lua.LString(text[8-min(digits, 8):]))
	return 1
}
