package luatest

import (
	"encoding/binary"
	"math"

	lua "github.com/yuin/gopher-lua"
)

// cmsgpackLibrary is the table cmsgpack: MessagePack.
func (s *sandbox) cmsgpackLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"pack":   s.msgpackPack,
		"unpack": func(l *lua.LState) int { return msgpackUnpack(l, 0, 0) },
		"unpack_one": func(l *lua.LState) int {
			return msgpackUnpack(l, 1, integerOption(l, 2, 0))
		},
		"unpack_limit": func(l *lua.LState) int {
			return msgpackUnpack(l, integerArgument(l, 2), integerOption(l, 3, 0))
		},
	}
}

// maxPackDepth is how deep tables are packed; what lies deeper is nil.
const maxPackDepth = 16

func (s *sandbox) msgpackPack(l *lua.LState) int {
	if l.GetTop() == 0 {
		badArgument(l, 0, "MessagePack pack needs input.")
	}
	var out []byte
	for n := 1; n <= l.GetTop(); n++ {
		out = s.appendMsgpack(out, l.Get(n), 0)
	}
	l.Push(lua.LString(out))
	return 1
}

func (s *sandbox) appendMsgpack(out []byte, v lua.LValue, depth int) []byte {
	switch v := v.(type) {
	case lua.LString:
		return append(appendHeader(out, len(v), 0xa0, 31, 0xd9, 0xda, 0xdb), v...)
	case lua.LBool:
		if v {
			return append(out, 0xc3)
		}
		return append(out, 0xc2)
	case lua.LNumber:
		return appendMsgpackNumber(out, float64(v))
	case *lua.LTable:
		if depth < maxPackDepth {
			return s.appendMsgpackTable(out, s.contents(v), depth+1)
		}
	}
	return append(out, 0xc0)
}

// appendHeader appends a type and a length. Types of a length of one byte are
// passed as 0 where there are none.
func appendHeader(out []byte, n int, short byte, maxShort int, type8, type16, type32 byte) []byte {
	switch {
	case n <= maxShort:
		return append(out, short|byte(n))
	case n <= math.MaxUint8 && type8 != 0:
		return append(out, type8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(out, type16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(out, type32), uint32(n))
}

func appendMsgpackNumber(out []byte, x float64) []byte {
	n := truncate(x)
	switch {
	case float64(n) != x && float64(float32(x)) == x:
		return binary.BigEndian.AppendUint32(append(out, 0xca), math.Float32bits(float32(x)))
	case float64(n) != x:
		return binary.BigEndian.AppendUint64(append(out, 0xcb), math.Float64bits(x))
	case n >= -32 && n <= math.MaxInt8:
		return append(out, byte(n))
	case n > math.MaxUint32:
		return binary.BigEndian.AppendUint64(append(out, 0xcf), uint64(n))
	case n > math.MaxUint16:
		return binary.BigEndian.AppendUint32(append(out, 0xce), uint32(n))
	case n > math.MaxUint8:
		return binary.BigEndian.AppendUint16(append(out, 0xcd), uint16(n))
	case n >= 0:
		return append(out, 0xcc, byte(n))
	case n >= math.MinInt8:
		return append(out, 0xd0, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(out, 0xd1), uint16(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(out, 0xd2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(out, 0xd3), uint64(n))
}

// appendMsgpackTable appends a table whose keys are 1 to n as an array, any
// other as a map.
func (s *sandbox) appendMsgpackTable(out []byte, t *lua.LTable, depth int) []byte {
	isArray, count, last := true, 0, 0.0
	t.ForEach(func(k, _ lua.LValue) {
		count++
		n, ok := k.(lua.LNumber)
		if !ok || n <= 0 || n != lua.LNumber(int32(truncate(float64(n)))) {
			isArray = false
		}
		last = max(last, float64(n))
	})
	if isArray && last == float64(count) {
		out = appendHeader(out, count, 0x90, 15, 0, 0xdc, 0xdd)
		for i := 1; i <= count; i++ {
			out = s.appendMsgpack(out, t.RawGet(lua.LNumber(i)), depth)
		}
		return out
	}
	out = appendHeader(out, count, 0x80, 15, 0, 0xde, 0xdf)
	t.ForEach(func(k, v lua.LValue) {
		out = s.appendMsgpack(out, k, depth)
		out = s.appendMsgpack(out, v, depth)
	})
	return out
}

// msgpackUnpack pushes the values in argument 1 from offset on, at most limit
// of them, after the offset of what follows; or all, and no offset, when both
// are 0.
func msgpackUnpack(l *lua.LState, limit, offset int) int {
	data := stringArgument(l, 1)
	switch {
	case offset < 0 || limit < 0:
		fail(l, "Invalid request to unpack with offset of %d and limit of %d.", int32(offset), int32(len(data)))
	case offset > len(data):
		fail(l, "Start offset %d greater than input length %d.", int32(offset), int32(len(data)))
	}
	all := limit == 0 && offset == 0
	if all {
		limit = math.MaxInt32
	}
	in := &msgpackReader{l: l, rest: data[offset:]}
	var values []lua.LValue
	for in.rest != "" && len(values) < limit {
		values = append(values, in.value(1+len(values)))
	}
	if !all {
		next := len(data) - len(in.rest)
		if in.rest == "" {
			next = -1
		}
		l.Push(lua.LNumber(next))
	}
	for _, v := range values {
		l.Push(v)
	}
	if all {
		return len(values)
	}
	return 1 + len(values)
}

type msgpackReader struct {
	l    *lua.LState
	rest string
}

func (in *msgpackReader) take(n int) string {
	if n > len(in.rest) {
		fail(in.l, "Missing bytes in input.")
	}
	taken := in.rest[:n]
	in.rest = in.rest[n:]
	return taken
}

// unsigned reads a big-endian integer of n bytes.
func (in *msgpackReader) unsigned(n int) uint64 {
	var value uint64
	for _, c := range []byte(in.take(n)) {
		value = value<<8 | uint64(c)
	}
	return value
}

// value reads one value, when used values are on the stack of the C function.
func (in *msgpackReader) value(used int) lua.LValue {
	first := in.take(1)[0]
	checkStack(in.l, used+1, "too many return values at once; use unpack_one or unpack_limit instead.")
	switch first {
	case 0xc0:
		return lua.LNil
	case 0xc2, 0xc3:
		return lua.LBool(first == 0xc3)
	case 0xca:
		return lua.LNumber(math.Float32frombits(uint32(in.unsigned(4))))
	case 0xcb:
		return lua.LNumber(math.Float64frombits(in.unsigned(8)))
	case 0xcc:
		return lua.LNumber(in.unsigned(1))
	case 0xcd:
		return lua.LNumber(in.unsigned(2))
	case 0xce:
		return lua.LNumber(in.unsigned(4))
	case 0xd0:
		return lua.LNumber(int8(in.unsigned(1)))
	case 0xd1:
		return lua.LNumber(int16(in.unsigned(2)))
	case 0xd2:
		return lua.LNumber(int32(in.unsigned(4)))
	case 0xcf, 0xd3: // an unsigned one from 2^63 on is negative in Redis
		return lua.LNumber(int64(in.unsigned(8)))
	case 0xd9:
		return lua.LString(in.take(int(in.unsigned(1))))
	case 0xda:
		return lua.LString(in.take(int(in.unsigned(2))))
	case 0xdb:
		return lua.LString(in.take(int(in.unsigned(4))))
	case 0xdc:
		return in.array(int(in.unsigned(2)), used)
	case 0xdd:
		return in.array(int(in.unsigned(4)), used)
	case 0xde:
		return in.table(int(in.unsigned(2)), used)
	case 0xdf:
		return in.table(int(in.unsigned(4)), used)
	}
	switch {
	case first < 0x80:
		return lua.LNumber(first)
	case first >= 0xe0:
		return lua.LNumber(int8(first))
	case first >= 0xc0:
		fail(in.l, "Bad data format in input.")
	case first >= 0xa0:
		return lua.LString(in.take(int(first & 31)))
	case first >= 0x90:
		return in.array(int(first&15), used)
	}
	return in.table(int(first&15), used)
}

func (in *msgpackReader) array(n, used int) lua.LValue {
	t := in.l.NewTable()
	checkStack(in.l, used+2, "in function mp_decode_to_lua_array")
	for i := 1; i <= n; i++ {
		// Beneath the value lie the table and the index.
		t.RawSet(lua.LNumber(i), in.value(used+2))
	}
	return t
}

func (in *msgpackReader) table(n, used int) lua.LValue {
	t := in.l.NewTable()
	for range n {
		key := in.value(used + 1)
		value := in.value(used + 2)
		setField(in.l, t, key, value)
	}
	return t
}

// setField is t[key] = value for keys that may not be keys.
func setField(l *lua.LState, t *lua.LTable, key, value lua.LValue) {
	if key == lua.LNil {
		throw(l, lua.LString("table index is nil"))
	}
	if n, ok := key.(lua.LNumber); ok && math.IsNaN(float64(n)) {
		throw(l, lua.LString("table index is NaN"))
	}
	t.RawSet(key, value)
}
