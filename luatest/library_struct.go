package luatest

import (
	"encoding/binary"
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// structLibrary is the table struct, which packs values into C structures as
// they lie in memory on a 64-bit little-endian machine.
func structLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{"pack": structPack, "unpack": structUnpack, "size": structSize}
}

const maxStructInteger = 32

// layout reads a format, an option at a time.
type layout struct {
	l      *lua.LState
	format string
	big    bool
	align  int
}

func newLayout(l *lua.LState) *layout {
	return &layout{l: l, format: cString(stringArgument(l, 1)), align: 1}
}

// next returns the next option, the size of its value in bytes (0 when it has
// none of its own) and the padding that aligns it at offset.
func (y *layout) next(offset int) (option byte, size, padding int) {
	option, y.format = y.format[0], y.format[1:]
	switch option {
	case 'b', 'B', 'x':
		size = 1
	case 'h', 'H':
		size = 2
	case 'f':
		size = 4
	case 'l', 'L', 'T', 'd':
		size = 8
	case 'c':
		return option, y.number(1), 0
	case 'i', 'I':
		size = y.number(4)
		if size > maxStructInteger {
			fail(y.l, "integral size %d is larger than limit of %d", size, maxStructInteger)
		}
	}
	if size > 0 {
		unit := min(size, y.align)
		padding = (unit - offset&(unit-1)) & (unit - 1)
	}
	return option, size, padding
}

func (y *layout) number(fallback int) int {
	if y.format == "" || !isDigit(y.format[0]) {
		return fallback
	}
	n := 0
	for y.format != "" && isDigit(y.format[0]) {
		n = n*10 + int(y.format[0]-'0')
		if n > math.MaxInt32 {
			fail(y.l, "integral size overflow")
		}
		y.format = y.format[1:]
	}
	return n
}

// control follows an option that has no value.
func (y *layout) control(option byte) {
	switch option {
	case ' ':
	case '>':
		y.big = true
	case '<':
		y.big = false
	case '!':
		n := y.number(8)
		if n <= 0 || n&(n-1) != 0 {
			fail(y.l, "alignment %d is not a power of 2", n)
		}
		y.align = n
	default:
		badArgument(y.l, 1, "invalid format option '"+string([]byte{option})+"'")
	}
}

// ordered turns little-endian bytes into the layout's order, or back.
func (y *layout) ordered(b []byte) []byte {
	if !y.big {
		return b
	}
	reversed := make([]byte, len(b))
	for i, c := range b {
		reversed[len(b)-1-i] = c
	}
	return reversed
}

func structPack(l *lua.LState) int {
	y := newLayout(l)
	l.Push(lua.LNil) // Redis's implementation does, and complains of a nil where nothing was given
	var out []byte
	arg := 2
	for y.format != "" {
		option, size, padding := y.next(len(out))
		out = append(out, make([]byte, padding)...)
		switch option {
		case 'b', 'B', 'h', 'H', 'l', 'L', 'T', 'i', 'I':
			value := binary.LittleEndian.AppendUint64(nil, toUint64(numberArgument(l, arg)))
			value = append(value, make([]byte, maxStructInteger)...)
			out = append(out, y.ordered(value[:size])...)
			arg++
		case 'x':
			out = append(out, 0)
		case 'f':
			bits := math.Float32bits(float32(numberArgument(l, arg)))
			out = append(out, y.ordered(binary.LittleEndian.AppendUint32(nil, bits))...)
			arg++
		case 'd':
			bits := math.Float64bits(numberArgument(l, arg))
			out = append(out, y.ordered(binary.LittleEndian.AppendUint64(nil, bits))...)
			arg++
		case 'c', 's':
			text := stringArgument(l, arg)
			arg++
			if size == 0 {
				size = len(text)
			}
			if len(text) < size {
				// The complaint is about the next argument, in Redis too.
				badArgument(l, arg, "string too short")
			}
			out = append(out, text[:size]...)
			if option == 's' {
				out = append(out, 0)
			}
		default:
			y.control(option)
		}
	}
	l.Push(lua.LString(out))
	return 1
}

func structUnpack(l *lua.LState) int {
	y := newLayout(l)
	data := stringArgument(l, 2)
	offset := integerOption(l, 3, 1)
	if offset == 0 {
		badArgument(l, 3, "offset must be 1 or greater")
	}
	// A negative offset is a huge one in C, past the end of all data.
	offset--
	tooShort := func(size int) bool { return offset < 0 || size < 0 || size > len(data) || offset > len(data)-size }
	results := 0
	push := func(v lua.LValue) {
		l.Push(v)
		results++
	}
	for y.format != "" {
		option, size, padding := y.next(max(offset, 0))
		offset += padding
		if tooShort(size) {
			badArgument(l, 2, "data string too short")
		}
		checkStack(l, l.GetTop()+2, "too many results")
		switch option {
		case 'b', 'B', 'h', 'H', 'l', 'L', 'T', 'i', 'I':
			push(y.integer([]byte(data[offset:offset+size]), option >= 'a'))
		case 'x':
		case 'f':
			bits := binary.LittleEndian.Uint32(y.ordered([]byte(data[offset : offset+size])))
			push(lua.LNumber(math.Float32frombits(bits)))
		case 'd':
			bits := binary.LittleEndian.Uint64(y.ordered([]byte(data[offset : offset+size])))
			push(lua.LNumber(math.Float64frombits(bits)))
		case 'c':
			if size == 0 {
				length, ok := numberOf(l.Get(-1))
				if results == 0 || !ok {
					fail(l, "format 'c0' needs a previous size")
				}
				size = int(toUint64(length))
				l.Pop(1)
				results--
				if tooShort(size) {
					badArgument(l, 2, "data string too short")
				}
			}
			push(lua.LString(data[offset : offset+size]))
		case 's':
			size = strings.IndexByte(data[offset:], 0)
			if size < 0 {
				fail(l, "unfinished string in data")
			}
			push(lua.LString(data[offset : offset+size]))
			size++
		default:
			y.control(option)
		}
		offset += size
	}
	push(lua.LNumber(offset + 1))
	return results
}

// integer reads an integer of any width, of which the low 64 bits count.
func (y *layout) integer(b []byte, signed bool) lua.LValue {
	little := append(y.ordered(b), make([]byte, 8)...)
	value := binary.LittleEndian.Uint64(little)
	if !signed {
		return lua.LNumber(value)
	}
	// For sizes other than 1 to 8 this shifts by what the processor makes of
	// the number of bits.
	sign := ^uint64(0) << uint((len(b)*8-1)&63)
	if value&sign != 0 {
		value |= sign
	}
	return lua.LNumber(int64(value))
}

func structSize(l *lua.LState) int {
	y := newLayout(l)
	offset := 0
	for y.format != "" {
		option, size, padding := y.next(offset)
		switch {
		case option == 's':
			badArgument(l, 1, "option 's' has no fixed size")
		case option == 'c' && size == 0:
			badArgument(l, 1, "option 'c0' has no fixed size")
		case !isLetter(option) && !isDigit(option):
			y.control(option)
		}
		offset += padding + size
	}
	l.Push(lua.LNumber(offset))
	return 1
}
