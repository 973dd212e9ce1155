package luatest

import (
	"math/bits"
	"strings"
)

var bitCommands = []*command{
	oneKey("setbit", 4, write|denyOOM|reads, cmdSetBit),
	oneKey("getbit", 3, readOnly|fast|reads, cmdGetBit),
	oneKey("bitcount", -2, readOnly|reads, cmdBitCount),
	oneKey("bitpos", -3, readOnly|reads, cmdBitPos),
	{
		name: "bitop", arity: -4, flags: write | denyOOM, firstKey: 2, lastKey: -1, keyStep: 1,
		perKey: []permission{mayWrite, mayRead}, run: cmdBitOp,
	},
	{
		name: "bitfield", arity: -2, flags: write | denyOOM, firstKey: 1, lastKey: 1, keyStep: 1, needs: bitFieldNeeds,
		run: func(e *Engine, args []string) any { return e.bitField(args, false) },
	},
	oneKey("bitfield_ro", -2, readOnly|fast|reads, func(e *Engine, args []string) any { return e.bitField(args, true) }),
}

// parseBitOffset reads the position of a bit. Where width is not 0, one such as
// #3 is counted in fields of that width.
func parseBitOffset(s string, width int64) (int64, Error) {
	factor := int64(1)
	if digits, counted := strings.CutPrefix(s, "#"); counted && width > 0 {
		s, factor = digits, width
	}
	offset, ok := parseInt(s)
	if offset *= factor; !ok || offset < 0 || offset>>3 >= maxArgumentBytes {
		return 0, "ERR bit offset is not an integer or out of range"
	}
	return offset, ""
}

// bitAt is the bit at a position, 0 after the end.
func bitAt[bytes string | []byte](b bytes, at int64) int64 {
	if at>>3 >= int64(len(b)) {
		return 0
	}
	return int64(b[at>>3] >> (7 - at&7) & 1)
}

func putBit(b []byte, at, bit int64) {
	mask := byte(1) << (7 - at&7)
	b[at>>3] &^= mask
	if bit != 0 {
		b[at>>3] |= mask
	}
}

func cmdSetBit(e *Engine, args []string) any {
	offset, invalid := parseBitOffset(args[2], 0)
	if invalid != "" {
		return invalid
	}
	bit, ok := parseInt(args[3])
	if !ok || bit&^1 != 0 {
		return Error("ERR bit is not an integer or out of range")
	}
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if entry == nil {
		entry = e.keys.setString(args[1], "")
	}
	bytes := grown(entry.str, int(offset>>3)+1)
	old := bitAt(bytes, offset)
	putBit(bytes, offset, bit)
	entry.setRaw(string(bytes))
	return old
}

func cmdGetBit(e *Engine, args []string) any {
	offset, invalid := parseBitOffset(args[2], 0)
	if invalid != "" {
		return invalid
	}
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if entry == nil {
		return int64(0)
	}
	return bitAt(entry.str, offset)
}

// parseBitUnit reads what a range is counted in, and returns how many bits that is.
func parseBitUnit(s string) (int64, Error) {
	switch strings.ToUpper(s) {
	case "BIT":
		return 1, ""
	case "BYTE":
		return 8, ""
	}
	return 0, errSyntax
}

func cmdBitCount(e *Engine, args []string) any {
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if entry == nil {
		return int64(0)
	}
	start, end, unit := int64(0), int64(-1), int64(8)
	switch len(args) {
	case 2:
	case 4, 5:
		var ok, ok2 bool
		start, ok = parseInt(args[2])
		end, ok2 = parseInt(args[3])
		switch {
		case !ok || !ok2:
			return errNotInt
		case start < 0 && end < 0 && start > end:
			return int64(0)
		}
		if len(args) == 5 {
			var invalid Error
			if unit, invalid = parseBitUnit(args[4]); invalid != "" {
				return invalid
			}
		}
	default:
		return errSyntax
	}
	from, to := byteRange(start, end, int64(len(entry.str))*8/unit)
	return countBits(entry.str, from*unit, to*unit)
}

// countBits counts the bits that are set from one position up to another.
func countBits(s string, from, to int64) int64 {
	var count int64
	for from < to {
		if from&7 == 0 && from+8 <= to {
			count += int64(bits.OnesCount8(s[from>>3]))
			from += 8
		} else {
			count += bitAt(s, from)
			from++
		}
	}
	return count
}

func cmdBitPos(e *Engine, args []string) any {
	bit, ok := parseInt(args[2])
	switch {
	case !ok:
		return errNotInt
	case bit != 0 && bit != 1:
		return Error("ERR The bit argument must be 1 or 0.")
	}
	entry, wrong := e.keys.findKind(args[1], stringKind)
	switch {
	case wrong != "":
		return wrong
	case entry == nil:
		return -bit
	case len(args) > 6:
		return errSyntax
	}
	start, end, unit := int64(0), int64(-1), int64(8)
	if len(args) > 3 {
		if start, ok = parseInt(args[3]); !ok {
			return errNotInt
		}
	}
	if len(args) > 5 {
		var invalid Error
		if unit, invalid = parseBitUnit(args[5]); invalid != "" {
			return invalid
		}
	}
	if len(args) > 4 {
		if end, ok = parseInt(args[4]); !ok {
			return errNotInt
		}
	}
	from, to := byteRange(start, end, int64(len(entry.str))*8/unit)
	for at := from * unit; at < to*unit; at++ {
		if bitAt(entry.str, at) == bit {
			return at
		}
	}
	if bit == 0 && from < to && len(args) < 5 {
		return to * unit // zeros follow a string whose end was not given
	}
	return int64(-1)
}

func cmdBitOp(e *Engine, args []string) any {
	operation, target, sources := strings.ToUpper(args[1]), args[2], args[3:]
	combine := map[string]func(a, b byte) byte{
		"AND": func(a, b byte) byte { return a & b },
		"OR":  func(a, b byte) byte { return a | b },
		"XOR": func(a, b byte) byte { return a ^ b },
		"NOT": func(a, _ byte) byte { return ^a },
	}[operation]
	switch {
	case combine == nil:
		return errSyntax
	case operation == "NOT" && len(sources) != 1:
		return Error("ERR BITOP NOT must be called with a single source key.")
	}
	var size int
	operands := make([]string, len(sources))
	for i, key := range sources {
		entry, wrong := e.keys.findKind(key, stringKind)
		if wrong != "" {
			return wrong
		}
		if entry != nil {
			operands[i] = entry.str
			size = max(size, len(entry.str))
		}
	}
	if size == 0 {
		e.keys.delete(target)
		return int64(0)
	}
	result := grown(operands[0], size)
	if operation == "NOT" {
		operands = append(operands, "") // NOT has one operand, and looks at no other
	}
	for _, operand := range operands[1:] {
		for i, b := range grown(operand, size) {
			result[i] = combine(result[i], b)
		}
	}
	e.keys.setString(target, "").setRaw(string(result))
	return int64(size)
}
