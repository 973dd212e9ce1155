package luatest

import (
	"math/rand/v2"
	"slices"
	"strconv"
)

var hashCommands = []*command{
	oneKey("hset", -4, write|denyOOM|fast, cmdHSet),
	oneKey("hget", 3, readOnly|fast|reads, cmdHGet),
	oneKey("hmget", -3, readOnly|fast|reads, cmdHMGet),
	oneKey("hgetall", 2, readOnly|reads, cmdHGetAll),
	oneKey("hdel", -3, write|fast, cmdHDel),
	oneKey("hexists", 3, readOnly|fast, cmdHExists),
	oneKey("hlen", 2, readOnly|fast, cmdHLen),
	oneKey("hincrby", 4, write|denyOOM|fast|reads, cmdHIncrBy),
	oneKey("hincrbyfloat", 4, write|denyOOM|fast|reads, cmdHIncrByFloat),
	oneKey("hmset", -4, write|denyOOM|fast, cmdHMSet),
	oneKey("hsetnx", 4, write|denyOOM|fast, cmdHSetNX),
	oneKey("hstrlen", 3, readOnly|fast, cmdHStrlen),
	oneKey("hkeys", 2, readOnly|reads, cmdHKeys),
	oneKey("hvals", 2, readOnly|reads, cmdHVals),
	oneKey("hscan", -3, readOnly|reads, cmdHScan),
	oneKey("hrandfield", -2, readOnly|reads, cmdHRandField),
}

// readHash returns the hash at key, an empty one when there is none.
func (e *Engine) readHash(key string) (*hash, Error) {
	entry, wrong := e.keys.findKind(key, hashKind)
	if entry == nil {
		return newHash(), wrong
	}
	return entry.hash, ""
}

// writeHash returns the hash at key and makes it when there is none.
func (e *Engine) writeHash(key string) (*hash, Error) {
	found, wrong := e.keys.findKind(key, hashKind)
	if wrong != "" {
		return nil, wrong
	}
	if found == nil {
		found = &entry{kind: hashKind, hash: newHash()}
		e.keys.keys.set(key, found)
	}
	return found.hash, ""
}

// cmdHMSet is HSET with another reply.
func cmdHMSet(e *Engine, args []string) any {
	if len(args)%2 != 0 {
		return wrongArity("hmset")
	}
	if failed, wrong := cmdHSet(e, args).(Error); wrong {
		return failed
	}
	return Status("OK")
}

func cmdHSetNX(e *Engine, args []string) any {
	h, wrong := e.writeHash(args[1])
	if wrong != "" {
		return wrong
	}
	if _, exists := h.values.get(args[2]); exists {
		return int64(0)
	}
	h.set(args[2], args[3])
	return int64(1)
}

func cmdHSet(e *Engine, args []string) any {
	if len(args)%2 != 0 {
		return wrongArity("hset")
	}
	h, wrong := e.writeHash(args[1])
	if wrong != "" {
		return wrong
	}
	var added int64
	for i := 2; i < len(args); i += 2 {
		if h.set(args[i], args[i+1]) {
			added++
		}
	}
	return added
}

func cmdHGet(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	return h.valueReply(args[2])
}

func cmdHMGet(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	values := make([]any, 0, len(args)-2)
	for _, field := range args[2:] {
		values = append(values, h.valueReply(field))
	}
	return values
}

func cmdHGetAll(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	pairs := make([]any, 0, 2*len(h.fields))
	for _, field := range h.fields {
		pairs = append(pairs, field, h.valueReply(field))
	}
	return pairs
}

func cmdHDel(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	var deleted int64
	for _, field := range args[2:] {
		if h.delete(field) {
			deleted++
		}
	}
	if deleted > 0 && len(h.fields) == 0 {
		e.keys.delete(args[1])
	}
	return deleted
}

func cmdHExists(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	if _, ok := h.values.get(args[2]); ok {
		return int64(1)
	}
	return int64(0)
}

func cmdHLen(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	return int64(len(h.fields))
}

func cmdHIncrBy(e *Engine, args []string) any {
	by, ok := parseInt(args[3])
	if !ok {
		return errNotInt
	}
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	var value int64
	if stored, exists := h.values.get(args[2]); exists {
		if value, ok = parseInt(stored); !ok {
			return Error("ERR hash value is not an integer")
		}
	}
	sum, ok := addInt(value, by)
	if !ok {
		return errOverflow
	}
	// Only now, so that a refusal leaves no empty hash behind.
	h, _ = e.writeHash(args[1])
	h.set(args[2], strconv.FormatInt(sum, 10))
	return sum
}

func cmdHIncrByFloat(e *Engine, args []string) any {
	by, ok := parseLongDouble(args[3])
	switch {
	case !ok:
		return errNotFloat
	case by.IsInf():
		return Error("ERR value is NaN or Infinity")
	}
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	stored, exists := h.values.get(args[2])
	if !exists {
		stored = "0"
	}
	value, ok := parseLongDouble(stored)
	if !ok {
		return Error("ERR hash value is not a float")
	}
	sum, ok := addLongDouble(value, by)
	if !ok {
		return errNotFinite
	}
	h, _ = e.writeHash(args[1])
	h.set(args[2], sum)
	return sum
}

func cmdHStrlen(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	value, _ := h.values.get(args[2])
	return int64(len(value))
}

func cmdHKeys(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	fields := make([]any, 0, len(h.fields))
	for _, field := range h.fields {
		fields = append(fields, field)
	}
	return fields
}

func cmdHVals(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	values := make([]any, 0, len(h.fields))
	for _, field := range h.fields {
		values = append(values, h.valueReply(field))
	}
	return values
}

func cmdHScan(e *Engine, args []string) any {
	cursor, ok := parseCursor(args[2])
	if !ok {
		return errCursor
	}
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	if len(h.fields) == 0 {
		return scanReply(0, []any{})
	}
	options, invalid := parseScan(args[3:], false)
	if invalid != "" {
		return invalid
	}
	fields, next := h.fields, uint64(0)
	if h.large {
		fields, next = h.values.scan(cursor, options.count)
	}
	items := []any{}
	for _, field := range fields {
		if globMatch(options.pattern, field) {
			items = append(items, field, h.valueReply(field))
		}
	}
	return scanReply(next, items)
}

func cmdHRandField(e *Engine, args []string) any {
	if len(args) == 2 {
		h, wrong := e.readHash(args[1])
		switch {
		case wrong != "":
			return wrong
		case len(h.fields) == 0:
			return nil
		}
		return h.fields[rand.New(&e.random).IntN(len(h.fields))]
	}
	count, withValues, invalid := parseChoice(args[2:], "WITHVALUES")
	if invalid != "" {
		return invalid
	}
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	// Redis leaves the order of a large part open, and returns a small one of a
	// compact hash from its beginning.
	positions := choose(rand.New(&e.random), len(h.fields), count)
	if count > 0 {
		slices.Sort(positions)
	}
	items := []any{}
	for _, at := range positions {
		items = append(items, h.fields[at])
		if withValues {
			items = append(items, h.valueReply(h.fields[at]))
		}
	}
	return items
}
