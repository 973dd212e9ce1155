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
	oneKey("strlen", 2, readOnly|fast, cmdStrlen),
	oneKey("append", 3, write|denyOOM|fast, cmdAppend),
	oneKey("incr", 2, write|denyOOM|fast|reads, func(e *Engine, args []string) any { return e.increment(args[1], 1) }),
	oneKey("decr", 2, write|denyOOM|fast|reads, func(e *Engine, args []string) any { return e.increment(args[1], -1) }),
	oneKey("incrby", 3, write|denyOOM|fast|reads, cmdIncrBy),
	oneKey("decrby", 3, write|denyOOM|fast|reads, cmdDecrBy),
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
		entry = e.keys.setString(args[1], "")
	}
	entry.str += args[2]
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
	entry.str = strconv.FormatInt(sum, 10)
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
