package luatest

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

var stringCommands = []*command{
	oneKey("get", 2, readOnly|fast|reads, cmdGet),
	{
		name: "set", arity: -3, flags: write | denyOOM, firstKey: 1, lastKey: 1, keyStep: 1, needs: setNeeds, run: cmdSet,
	},
	oneKey("setnx", 3, write|denyOOM|fast, cmdSetNX),
	oneKey("setex", 4, write|denyOOM, cmdSetEX),
	oneKey("psetex", 4, write|denyOOM, cmdSetEX),
	oneKey("getdel", 2, write|fast|reads, cmdGetDel),
	oneKey("getex", -2, write|fast|reads, cmdGetEX),
	manyKeys("mget", -2, readOnly|fast|reads, cmdMGet),
	{name: "mset", arity: -3, flags: write | denyOOM, firstKey: 1, lastKey: -1, keyStep: 2, run: cmdMSet},
	{name: "msetnx", arity: -3, flags: write | denyOOM, firstKey: 1, lastKey: -1, keyStep: 2, run: cmdMSetNX},
	oneKey("strlen", 2, readOnly|fast, cmdStrlen),
	oneKey("append", 3, write|denyOOM|fast, cmdAppend),
	oneKey("incr", 2, write|denyOOM|fast|reads, func(e *Engine, args []string) any { return e.increment(args[1], 1) }),
	oneKey("decr", 2, write|denyOOM|fast|reads, func(e *Engine, args []string) any { return e.increment(args[1], -1) }),
	oneKey("incrby", 3, write|denyOOM|fast|reads, cmdIncrBy),
	oneKey("decrby", 3, write|denyOOM|fast|reads, cmdDecrBy),
	oneKey("incrbyfloat", 3, write|denyOOM|fast|reads, cmdIncrByFloat),
	oneKey("getset", 3, write|denyOOM|fast|reads, cmdGetSet),
	oneKey("getrange", 4, readOnly|reads, cmdGetRange),
	oneKey("substr", 4, readOnly|reads, cmdGetRange),
	oneKey("setrange", 4, write|denyOOM, cmdSetRange),
}

func cmdGet(e *Engine, args []string) any {
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if entry == nil {
		return nil
	}
	return entry.str
}

// lifetime is an expiry as SET and its kin spell it: EX, PX, EXAT or PXAT and
// a number. The zero lifetime is none.
type lifetime struct {
	unit, amount string
}

// deadline returns the lifetime's end in Unix milliseconds.
func (l lifetime) deadline(now int64, command string) (int64, Error) {
	invalid := Error("ERR invalid expire time in '" + command + "' command")
	ms, ok := parseInt(l.amount)
	if !ok {
		return 0, errNotInt
	}
	if ms <= 0 {
		return 0, invalid
	}
	if l.unit[0] == 'E' {
		if ms > math.MaxInt64/1000 {
			return 0, invalid
		}
		ms *= 1000
	}
	if strings.HasSuffix(l.unit, "AT") {
		return ms, ""
	}
	if ms > math.MaxInt64-now {
		return 0, invalid
	}
	return ms + now, ""
}

func (e *entry) expire(at int64) { e.expires, e.expireAt = true, at }

// setNeeds is what the key of SET must permit: it is read only to reply with
// the old value.
func setNeeds(args []string) permission {
	options := args[min(3, len(args)):]
	if slices.ContainsFunc(options, func(option string) bool { return strings.EqualFold(option, "GET") }) {
		return mayRead | mayWrite
	}
	return mayWrite
}

func cmdSet(e *Engine, args []string) any {
	key, value := args[1], args[2]
	var ifAbsent, ifPresent, get, keepTTL bool
	var life lifetime
	for i := 3; i < len(args); i++ {
		switch option := strings.ToUpper(args[i]); {
		case option == "NX" && !ifPresent:
			ifAbsent = true
		case option == "XX" && !ifAbsent:
			ifPresent = true
		case option == "GET":
			get = true
		case option == "KEEPTTL" && life.unit == "":
			keepTTL = true
		case isLifetime(option) && (life.unit == "" || life.unit == option) && !keepTTL && i+1 < len(args):
			i++
			life = lifetime{option, args[i]}
		default:
			return errSyntax
		}
	}
	var deadline int64
	if life.unit != "" {
		var invalid Error
		if deadline, invalid = life.deadline(e.keys.nowMillis(), "set"); invalid != "" {
			return invalid
		}
	}
	old := e.keys.find(key)
	var reply any = Status("OK")
	if get {
		reply = nil
		if old != nil {
			if old.kind != stringKind {
				return errWrongType
			}
			reply = old.str
		}
	}
	if ifAbsent && old != nil || ifPresent && old == nil {
		if get {
			return reply
		}
		return nil
	}
	set := e.keys.setString(key, value)
	if keepTTL && old != nil {
		set.expires, set.expireAt = old.expires, old.expireAt
	}
	if life.unit != "" {
		set.expire(deadline)
	}
	return reply
}

func isLifetime(option string) bool {
	return option == "EX" || option == "PX" || option == "EXAT" || option == "PXAT"
}

func cmdSetNX(e *Engine, args []string) any {
	if e.keys.find(args[1]) != nil {
		return int64(0)
	}
	e.keys.setString(args[1], args[2])
	return int64(1)
}

// cmdSetEX is both SETEX and PSETEX.
func cmdSetEX(e *Engine, args []string) any {
	name := strings.ToLower(args[0])
	unit := "EX"
	if name == "psetex" {
		unit = "PX"
	}
	deadline, invalid := lifetime{unit, args[2]}.deadline(e.keys.nowMillis(), name)
	if invalid != "" {
		return invalid
	}
	e.keys.setString(args[1], args[3]).expire(deadline)
	return Status("OK")
}

func cmdGetDel(e *Engine, args []string) any {
	reply := cmdGet(e, args)
	if _, found := reply.(string); found {
		e.keys.delete(args[1])
	}
	return reply
}

func cmdGetEX(e *Engine, args []string) any {
	var persist bool
	var life lifetime
	for i := 2; i < len(args); i++ {
		switch option := strings.ToUpper(args[i]); {
		case option == "PERSIST" && life.unit == "":
			persist = true
		case isLifetime(option) && (life.unit == "" || life.unit == option) && !persist && i+1 < len(args):
			i++
			life = lifetime{option, args[i]}
		default:
			return errSyntax
		}
	}
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if entry == nil {
		return nil
	}
	switch {
	case persist:
		entry.expires = false
	case life.unit != "":
		now := e.keys.nowMillis()
		deadline, invalid := life.deadline(now, "getex")
		if invalid != "" {
			return invalid
		}
		if deadline <= now {
			e.keys.delete(args[1])
		} else {
			entry.expire(deadline)
		}
	}
	return entry.str
}

func cmdMGet(e *Engine, args []string) any {
	values := make([]any, 0, len(args)-1)
	for _, key := range args[1:] {
		if entry := e.keys.find(key); entry != nil && entry.kind == stringKind {
			values = append(values, entry.str)
		} else {
			values = append(values, nil)
		}
	}
	return values
}

func cmdMSet(e *Engine, args []string) any {
	if len(args)%2 == 0 {
		return wrongArity("mset")
	}
	for i := 1; i < len(args); i += 2 {
		e.keys.setString(args[i], args[i+1])
	}
	return Status("OK")
}

func cmdMSetNX(e *Engine, args []string) any {
	if len(args)%2 == 0 {
		return wrongArity("msetnx")
	}
	for i := 1; i < len(args); i += 2 {
		if e.keys.find(args[i]) != nil {
			return int64(0)
		}
	}
	cmdMSet(e, args)
	return int64(1)
}

func cmdStrlen(e *Engine, args []string) any {
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if entry == nil {
		return int64(0)
	}
	return int64(len(entry.str))
}

func cmdAppend(e *Engine, args []string) any {
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if entry == nil {
		entry = e.keys.setString(args[1], args[2])
	} else {
		entry.setRaw(entry.str + args[2])
	}
	return int64(len(entry.str))
}

const errOverflow Error = "ERR increment or decrement would overflow"

func (e *Engine) increment(key string, by int64) any {
	entry, wrong := e.keys.findKind(key, stringKind)
	if wrong != "" {
		return wrong
	}
	var value int64
	if entry != nil {
		var ok bool
		if value, ok = parseInt(entry.str); !ok {
			return errNotInt
		}
	}
	sum, ok := addInt(value, by)
	if !ok {
		return errOverflow
	}
	if entry == nil {
		entry = e.keys.setString(key, "")
	}
	entry.str, entry.encoding = strconv.FormatInt(sum, 10), "int"
	return sum
}

// addInt adds, and reports whether the sum fits.
func addInt(a, b int64) (int64, bool) {
	if b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b {
		return 0, false
	}
	return a + b, true
}

func cmdIncrBy(e *Engine, args []string) any {
	by, ok := parseInt(args[2])
	if !ok {
		return errNotInt
	}
	return e.increment(args[1], by)
}

func cmdDecrBy(e *Engine, args []string) any {
	by, ok := parseInt(args[2])
	if !ok {
		return errNotInt
	}
	if by == math.MinInt64 {
		return Error("ERR decrement would overflow")
	}
	return e.increment(args[1], -by)
}

func cmdIncrByFloat(e *Engine, args []string) any {
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	stored := "0"
	if entry != nil {
		stored = entry.str
	}
	value, ok := parseLongDouble(stored)
	by, ok2 := parseLongDouble(args[2])
	if !ok || !ok2 {
		return errNotFloat
	}
	sum, ok := addLongDouble(value, by)
	if !ok {
		return errNotFinite
	}
	if entry == nil {
		entry = e.keys.setString(args[1], "")
	}
	entry.str, entry.encoding = sum, encodingOf(sum)
	return sum
}

const errNotFinite Error = "ERR increment would produce NaN or Infinity"

func cmdGetSet(e *Engine, args []string) any {
	old := cmdGet(e, args)
	if _, wrong := old.(Error); !wrong {
		e.keys.setString(args[1], args[2])
	}
	return old
}

// cmdGetRange is both GETRANGE and SUBSTR.
func cmdGetRange(e *Engine, args []string) any {
	start, ok := parseInt(args[2])
	end, ok2 := parseInt(args[3])
	if !ok || !ok2 {
		return errNotInt
	}
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if entry == nil || start < 0 && end < 0 && start > end {
		return ""
	}
	from, to := byteRange(start, end, int64(len(entry.str)))
	return entry.str[from:to]
}

// byteRange turns the ends of a range within size bytes or bits, negative ones
// counted from the end, into a half-open range. One that ends before the first
// ends with the first.
func byteRange(start, end, size int64) (from, to int64) {
	if start < 0 {
		start = max(0, size+start)
	}
	if end < 0 {
		end = max(0, size+end)
	}
	if to = min(end, size-1) + 1; start >= to {
		return 0, 0
	}
	return start, to
}

func cmdSetRange(e *Engine, args []string) any {
	offset, ok := parseInt(args[2])
	switch {
	case !ok:
		return errNotInt
	case offset < 0:
		return Error("ERR offset is out of range")
	}
	entry, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	value := args[3]
	if value == "" {
		return cmdStrlen(e, args)
	}
	if offset > maxArgumentBytes-int64(len(value)) {
		return Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
	}
	if entry == nil {
		entry = e.keys.setString(args[1], "")
	}
	bytes := grown(entry.str, int(offset)+len(value))
	copy(bytes[offset:], value)
	entry.setRaw(string(bytes))
	return int64(len(entry.str))
}

// grown returns the bytes of s, with zeros after them if there are less than size.
func grown(s string, size int) []byte {
	bytes := make([]byte, max(size, len(s)))
	copy(bytes, s)
	return bytes
}
