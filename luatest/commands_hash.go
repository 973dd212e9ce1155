package luatest

import "strconv"

var hashCommands = []*command{
	oneKey("hset", -4, write|denyOOM|fast, cmdHSet),
	oneKey("hget", 3, readOnly|fast|reads, cmdHGet),
	oneKey("hmget", -3, readOnly|fast|reads, cmdHMGet),
	oneKey("hgetall", 2, readOnly|reads, cmdHGetAll),
	oneKey("hdel", -3, write|fast, cmdHDel),
	oneKey("hexists", 3, readOnly|fast, cmdHExists),
	oneKey("hlen", 2, readOnly|fast, cmdHLen),
	oneKey("hincrby", 4, write|denyOOM|fast|reads, cmdHIncrBy),
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
	if value, ok := h.values[args[2]]; ok {
		return value
	}
	return nil
}

func cmdHMGet(e *Engine, args []string) any {
	h, wrong := e.readHash(args[1])
	if wrong != "" {
		return wrong
	}
	values := make([]any, 0, len(args)-2)
	for _, field := range args[2:] {
		if value, ok := h.values[field]; ok {
			values = append(values, value)
		} else {
			values = append(values, nil)
		}
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
		pairs = append(pairs, field, h.values[field])
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
	if _, ok := h.values[args[2]]; ok {
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
	if stored, exists := h.values[args[2]]; exists {
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
