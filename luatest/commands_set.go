package luatest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

var setCommands = []*command{
	oneKey("sadd", -3, write|denyOOM|fast, cmdSAdd),
	oneKey("srem", -3, write|fast, cmdSRem),
	oneKey("sismember", 3, readOnly|fast, cmdSIsMember),
	oneKey("smismember", -3, readOnly|fast|reads, cmdSMIsMember),
	oneKey("smembers", 2, readOnly|reads, cmdSMembers),
	oneKey("scard", 2, readOnly|fast, cmdSCard),
	oneKey("spop", -2, write|fast|reads, cmdSPop),
	oneKey("srandmember", -2, readOnly|reads, cmdSRandMember),
	moves("smove", 4, write|fast, cmdSMove),
	manyKeys("sinter", -2, readOnly|reads, func(e *Engine, args []string) any { return e.combine(args, intersection) }),
	manyKeys("sunion", -2, readOnly|reads, func(e *Engine, args []string) any { return e.combine(args, union) }),
	manyKeys("sdiff", -2, readOnly|reads, func(e *Engine, args []string) any { return e.combine(args, difference) }),
	stores("sinterstore", -3, write|denyOOM, func(e *Engine, args []string) any { return e.store(args, intersection) }),
	stores("sunionstore", -3, write|denyOOM, func(e *Engine, args []string) any { return e.store(args, union) }),
	stores("sdiffstore", -3, write|denyOOM, func(e *Engine, args []string) any { return e.store(args, difference) }),
	{name: "sintercard", arity: -3, flags: readOnly | reads, keyCount: 1, run: cmdSInterCard},
	oneKey("sscan", -3, readOnly|reads, cmdSScan),
}

// readSet returns the set at key, an empty one when there is none.
func (e *Engine) readSet(key string) (*set, Error) {
	found, wrong := e.keys.findKind(key, setKind)
	if found == nil {
		return newSet(), wrong
	}
	return found.set, ""
}

// writeSet returns the set at key and makes it when there is none.
func (e *Engine) writeSet(key string) (*set, Error) {
	found, wrong := e.keys.findKind(key, setKind)
	if wrong != "" {
		return nil, wrong
	}
	if found == nil {
		found = &entry{kind: setKind, set: newSet()}
		e.keys.keys.set(key, found)
	}
	return found.set, ""
}

func cmdSAdd(e *Engine, args []string) any {
	s, wrong := e.writeSet(args[1])
	if wrong != "" {
		return wrong
	}
	var added int64
	for _, member := range args[2:] {
		if s.add(member) {
			added++
		}
	}
	return added
}

func cmdSRem(e *Engine, args []string) any {
	s, wrong := e.readSet(args[1])
	if wrong != "" {
		return wrong
	}
	var removed int64
	for _, member := range args[2:] {
		if s.delete(member) {
			removed++
		}
	}
	if len(s.members) == 0 {
		e.keys.delete(args[1])
	}
	return removed
}

func cmdSIsMember(e *Engine, args []string) any {
	s, wrong := e.readSet(args[1])
	if wrong != "" {
		return wrong
	}
	return s.hasReply(args[2])
}

func (s *set) hasReply(member string) any {
	if s.has(member) {
		return int64(1)
	}
	return int64(0)
}

func cmdSMIsMember(e *Engine, args []string) any {
	s, wrong := e.readSet(args[1])
	if wrong != "" {
		return wrong
	}
	replies := make([]any, 0, len(args)-2)
	for _, member := range args[2:] {
		replies = append(replies, s.hasReply(member))
	}
	return replies
}

func cmdSMembers(e *Engine, args []string) any {
	s, wrong := e.readSet(args[1])
	if wrong != "" {
		return wrong
	}
	return anySlice(s.members)
}

func cmdSCard(e *Engine, args []string) any {
	s, wrong := e.readSet(args[1])
	if wrong != "" {
		return wrong
	}
	return int64(len(s.members))
}

func cmdSMove(e *Engine, args []string) any {
	if e.keys.find(args[1]) == nil {
		return int64(0)
	}
	source, wrong := e.readSet(args[1])
	if wrong != "" {
		return wrong
	}
	target, wrong := e.readSet(args[2])
	switch {
	case wrong != "":
		return wrong
	case source == target:
		return source.hasReply(args[3])
	case !source.delete(args[3]):
		return int64(0)
	}
	if len(source.members) == 0 {
		e.keys.delete(args[1])
	}
	// Only now, so that a refusal leaves no empty set behind.
	target, _ = e.writeSet(args[2])
	target.add(args[3])
	return int64(1)
}

func cmdSPop(e *Engine, args []string) any {
	r := rand.New(&e.random)
	if len(args) == 2 {
		s, wrong := e.readSet(args[1])
		switch {
		case wrong != "":
			return wrong
		case len(s.members) == 0:
			return nil
		}
		member := s.pop(r)
		if len(s.members) == 0 {
			e.keys.delete(args[1])
		}
		return member
	}
	if len(args) > 3 {
		return errSyntax
	}
	count, invalid := parseAtLeast(args[2], 0, errNotPositive)
	if invalid != "" {
		return invalid
	}
	found, wrong := e.keys.findKind(args[1], setKind)
	switch {
	case wrong != "":
		return wrong
	case found == nil:
		return []any{}
	case count >= int64(len(found.set.members)):
		e.keys.delete(args[1])
		return anySlice(union([]*set{found.set}).members)
	}
	return anySlice(found.popSome(r, int(count)))
}

// popSome removes some members of a set, fewer than all, as Redis does: when
// few are to stay, it makes a new set of these, which may be compact again.
func (e *entry) popSome(r *rand.Rand, count int) []string {
	var popped []string
	if stay := len(e.set.members) - count; stay*5 <= count {
		kept := newSet()
		for range stay {
			kept.add(e.set.pop(r))
		}
		popped, e.set = e.set.members, kept
		return popped
	}
	for range count {
		popped = append(popped, e.set.pop(r))
	}
	return popped
}

func cmdSRandMember(e *Engine, args []string) any {
	r := rand.New(&e.random)
	if len(args) == 2 {
		s, wrong := e.readSet(args[1])
		switch {
		case wrong != "":
			return wrong
		case len(s.members) == 0:
			return nil
		}
		return s.members[r.IntN(len(s.members))]
	}
	if len(args) > 3 {
		return errSyntax
	}
	count, ok := parseInt(args[2])
	switch {
	case !ok:
		return errNotInt
	case count == math.MinInt64:
		return Error(fmt.Sprintf("ERR value is out of range, value must between %d and %d", -math.MaxInt64, math.MaxInt64))
	}
	s, wrong := e.readSet(args[1])
	if wrong != "" {
		return wrong
	}
	items, size := []any{}, len(s.members)
	switch {
	case size == 0:
	case count < 0:
		for range -count {
			items = append(items, s.members[r.IntN(size)])
		}
	case count >= int64(size):
		items = anySlice(s.members)
	default:
		for _, at := range sample(r, size, int(count)) {
			items = append(items, s.members[at])
		}
	}
	return items
}

// readSets returns the sets at the keys, nil for one that is not there.
func (e *Engine) readSets(keys []string) ([]*set, Error) {
	sets := make([]*set, len(keys))
	for i, key := range keys {
		found, wrong := e.keys.findKind(key, setKind)
		if wrong != "" {
			return nil, wrong
		}
		if found != nil {
			sets[i] = found.set
		}
	}
	return sets, ""
}

// combine replies with what operation makes of the sets at all keys.
func (e *Engine) combine(args []string, operation func([]*set) *set) any {
	sets, wrong := e.readSets(args[1:])
	if wrong != "" {
		return wrong
	}
	return anySlice(operation(sets).members)
}

// store puts what operation makes of the sets at the other keys under the first
// key, whatever that was. An empty set is no key.
func (e *Engine) store(args []string, operation func([]*set) *set) any {
	sets, wrong := e.readSets(args[2:])
	if wrong != "" {
		return wrong
	}
	result := operation(sets)
	if len(result.members) == 0 {
		e.keys.delete(args[1])
	} else {
		e.keys.keys.set(args[1], &entry{kind: setKind, set: result})
	}
	return int64(len(result.members))
}

func cmdSInterCard(e *Engine, args []string) any {
	keys, invalid := parseAtLeast(args[1], 1, "ERR numkeys should be greater than 0")
	switch {
	case invalid != "":
		return invalid
	case keys > int64(len(args)-2):
		return Error("ERR Number of keys can't be greater than number of args")
	}
	var limit int64
	for option := range slices.Chunk(args[2+keys:], 2) {
		if len(option) < 2 || !strings.EqualFold(option[0], "LIMIT") {
			return errSyntax
		}
		if limit, invalid = parseAtLeast(option[1], 0, "ERR LIMIT can't be negative"); invalid != "" {
			return invalid
		}
	}
	sets, wrong := e.readSets(args[2 : 2+keys])
	if wrong != "" {
		return wrong
	}
	size := int64(len(intersection(sets).members))
	if limit > 0 {
		size = min(size, limit)
	}
	return size
}

func cmdSScan(e *Engine, args []string) any {
	cursor, ok := parseCursor(args[2])
	if !ok {
		return errCursor
	}
	s, wrong := e.readSet(args[1])
	switch {
	case wrong != "":
		return wrong
	case len(s.members) == 0:
		return scanReply(0, []any{})
	}
	options, invalid := parseScan(args[3:], false)
	if invalid != "" {
		return invalid
	}
	members, next := s.members, uint64(0)
	if s.large {
		members, next = s.index.scan(cursor, options.count)
	}
	items := []any{}
	for _, member := range members {
		if globMatch(options.pattern, member) {
			items = append(items, member)
		}
	}
	return scanReply(next, items)
}
