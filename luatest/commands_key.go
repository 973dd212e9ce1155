package luatest

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

var keyCommands = []*command{
	manyKeys("del", -2, write, cmdDel),
	manyKeys("unlink", -2, write|fast, cmdDel),
	manyKeys("exists", -2, readOnly|fast, cmdExists),
	oneKey("type", 2, readOnly|fast, cmdType),
	oneKey("expire", -3, write|fast, cmdExpire),
	oneKey("pexpire", -3, write|fast, cmdExpire),
	oneKey("expireat", -3, write|fast, cmdExpire),
	oneKey("pexpireat", -3, write|fast, cmdExpire),
	oneKey("ttl", 2, readOnly|fast|reads, cmdTTL),
	oneKey("pttl", 2, readOnly|fast|reads, cmdTTL),
	oneKey("expiretime", 2, readOnly|fast|reads, cmdTTL),
	oneKey("pexpiretime", 2, readOnly|fast|reads, cmdTTL),
	oneKey("persist", 2, write|fast, cmdPersist),
	noKey("keys", 2, readOnly|dangerous, cmdKeys),
	moves("rename", 3, write, cmdRename),
	moves("renamenx", 3, write|fast, cmdRenameNX),
	{
		name: "copy", arity: -3, flags: write | denyOOM, firstKey: 1, lastKey: 2, keyStep: 1,
		perKey: []permission{mayRead, mayWrite}, run: cmdCopy,
	},
	manyKeys("touch", -2, readOnly|fast, cmdExists),
	noKey("randomkey", 1, readOnly, cmdRandomKey),
	objectCommand,
	noKey("dbsize", 1, readOnly|fast, func(e *Engine, _ []string) any { return int64(e.keys.keys.len()) }),
	noKey("flushall", -1, write|dangerous, cmdFlush),
	noKey("flushdb", -1, write|dangerous, cmdFlush),
	noKey("scan", -2, readOnly, cmdScan),
}

func cmdDel(e *Engine, args []string) any {
	var deleted int64
	for _, key := range args[1:] {
		if e.keys.delete(key) {
			deleted++
		}
	}
	return deleted
}

func cmdExists(e *Engine, args []string) any {
	var found int64
	for _, key := range args[1:] {
		if e.keys.find(key) != nil {
			found++
		}
	}
	return found
}

func cmdType(e *Engine, args []string) any {
	if entry := e.keys.find(args[1]); entry != nil {
		return Status(entry.kind)
	}
	return Status("none")
}

// cmdExpire is EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
func cmdExpire(e *Engine, args []string) any {
	name := strings.ToLower(args[0])
	var nx, xx, gt, lt bool
	for _, option := range args[3:] {
		switch strings.ToUpper(option) {
		case "NX":
			nx = true
		case "XX":
			xx = true
		case "GT":
			gt = true
		case "LT":
			lt = true
		default:
			return Error(oneLine("ERR Unsupported option " + cString(option)))
		}
	}
	if nx && (xx || gt || lt) {
		return Error("ERR NX and XX, GT or LT options at the same time are not compatible")
	}
	if gt && lt {
		return Error("ERR GT and LT options at the same time are not compatible")
	}
	when, ok := parseInt(args[2])
	if !ok {
		return errNotInt
	}
	invalid := Error("ERR invalid expire time in '" + name + "' command")
	if !strings.HasPrefix(name, "p") {
		if when > math.MaxInt64/1000 || when < math.MinInt64/1000 {
			return invalid
		}
		when *= 1000
	}
	now := e.keys.nowMillis()
	if !strings.HasSuffix(name, "at") {
		if when > math.MaxInt64-now {
			return invalid
		}
		when += now
	}
	entry := e.keys.find(args[1])
	switch {
	case entry == nil,
		nx && entry.expires,
		xx && !entry.expires,
		gt && (!entry.expires || when <= entry.expireAt),
		lt && entry.expires && when >= entry.expireAt:
		return int64(0)
	}
	if when <= now {
		e.keys.delete(args[1])
	} else {
		entry.expire(when)
	}
	return int64(1)
}

// cmdTTL is TTL, PTTL, EXPIRETIME and PEXPIRETIME.
func cmdTTL(e *Engine, args []string) any {
	name := strings.ToLower(args[0])
	entry := e.keys.find(args[1])
	if entry == nil {
		return int64(-2)
	}
	if !entry.expires {
		return int64(-1)
	}
	ms := entry.expireAt
	if strings.HasSuffix(name, "ttl") {
		ms = max(0, ms-e.keys.nowMillis())
	}
	if strings.HasPrefix(name, "p") {
		return ms
	}
	seconds := ms / 1000
	if ms%1000 >= 500 {
		seconds++
	}
	return seconds
}

func cmdPersist(e *Engine, args []string) any {
	entry := e.keys.find(args[1])
	if entry == nil || !entry.expires {
		return int64(0)
	}
	entry.expires = false
	return int64(1)
}

func cmdKeys(e *Engine, args []string) any {
	found := []any{}
	for _, key := range e.keys.keys.names() {
		if globMatch(args[1], key) && e.keys.find(key) != nil {
			found = append(found, key)
		}
	}
	return found
}

// cmdRandomKey removes the expired keys that it chooses, as Redis does.
func cmdRandomKey(e *Engine, _ []string) any {
	names := e.keys.keys.names()
	for _, at := range rand.New(&e.random).Perm(len(names)) {
		if e.keys.find(names[at]) != nil {
			return names[at]
		}
	}
	return nil
}

// move gives what from holds, with its expiry, the name to.
func (k *keyspace) move(from, to string) {
	moved := k.find(from)
	k.keys.delete(from)
	k.keys.set(to, moved)
}

func cmdRename(e *Engine, args []string) any {
	if e.keys.find(args[1]) == nil {
		return errNoKey
	}
	e.keys.move(args[1], args[2])
	return Status("OK")
}

func cmdRenameNX(e *Engine, args []string) any {
	switch {
	case e.keys.find(args[1]) == nil:
		return errNoKey
	case e.keys.find(args[2]) != nil:
		return int64(0)
	}
	e.keys.move(args[1], args[2])
	return int64(1)
}

func cmdCopy(e *Engine, args []string) any {
	const databases = 16 // of a server, of which the engine has the first
	var replace bool
	var to int64
	for i := 3; i < len(args); i++ {
		switch option := strings.ToUpper(args[i]); {
		case option == "REPLACE":
			replace = true
		case option == "DB" && i+1 < len(args):
			i++
			var ok bool
			to, ok = parseInt(args[i])
			switch {
			case !ok:
				return errNotInt
			case to < math.MinInt32 || to > math.MaxInt32:
				return Error("ERR value is out of range, value must between -2147483648 and 2147483647")
			case to != 0 && !e.gate.cluster, to < 0 || to >= databases:
				return Error("ERR DB index is out of range")
			}
		default:
			return errSyntax
		}
	}
	switch {
	case to != 0:
		return Error("ERR Copying to another database is not allowed in cluster mode")
	case args[1] == args[2]:
		return Error("ERR source and destination objects are the same")
	}
	source := e.keys.find(args[1])
	if source == nil || e.keys.find(args[2]) != nil && !replace {
		return int64(0)
	}
	e.keys.keys.set(args[2], source.clone())
	return int64(1)
}

// scanOptions are what may follow the cursor of SCAN and ZSCAN.
type scanOptions struct {
	count   int
	pattern string
	kind    string
}

func parseScan(options []string, allowType bool) (scanOptions, Error) {
	o := scanOptions{count: 10, pattern: "*"}
	for i := 0; i < len(options); i += 2 {
		option := strings.ToUpper(options[i])
		if i+1 == len(options) {
			return o, errSyntax
		}
		value := options[i+1]
		switch {
		case option == "COUNT":
			count, ok := parseInt(value)
			if !ok {
				return o, errNotInt
			}
			if count < 1 {
				return o, errSyntax
			}
			o.count = int(min(count, math.MaxInt32))
		case option == "MATCH":
			o.pattern = value
		case option == "TYPE" && allowType:
			o.kind = value
		default:
			return o, errSyntax
		}
	}
	return o, ""
}

// parseCursor reads a cursor as strtoul does: an empty one is 0, and a negative
// one wraps around.
func parseCursor(s string) (uint64, bool) {
	if s = cString(s); s == "" {
		return 0, true
	}
	digits, negative := strings.CutPrefix(s, "-")
	cursor, err := strconv.ParseUint(digits, 10, 64)
	if negative {
		cursor = -cursor
	}
	return cursor, err == nil
}

func scanReply(cursor uint64, items []any) []any {
	return []any{strconv.FormatUint(cursor, 10), items}
}

func cmdScan(e *Engine, args []string) any {
	cursor, ok := parseCursor(args[1])
	if !ok {
		return errCursor
	}
	options, invalid := parseScan(args[2:], true)
	if invalid != "" {
		return invalid
	}
	names, next := e.keys.keys.scan(cursor, options.count)
	items := []any{}
	for _, name := range names {
		// The order matters: an expired key that is filtered out by its name is
		// not removed, as in Redis.
		if !globMatch(options.pattern, name) {
			continue
		}
		entry := e.keys.find(name)
		if entry != nil && (options.kind == "" || strings.EqualFold(options.kind, string(entry.kind))) {
			items = append(items, name)
		}
	}
	return scanReply(next, items)
}
