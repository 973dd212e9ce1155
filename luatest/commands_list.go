package luatest

import (
	"slices"
	"strings"
)

var listCommands = []*command{
	oneKey("lpush", -3, write|denyOOM|fast, cmdPush),
	oneKey("rpush", -3, write|denyOOM|fast, cmdPush),
	oneKey("lpushx", -3, write|denyOOM|fast, cmdPush),
	oneKey("rpushx", -3, write|denyOOM|fast, cmdPush),
	oneKey("lpop", -2, write|fast|reads, cmdPop),
	oneKey("rpop", -2, write|fast|reads, cmdPop),
	oneKey("llen", 2, readOnly|fast, cmdLLen),
	oneKey("lrange", 4, readOnly|reads, cmdLRange),
	oneKey("lindex", 3, readOnly|reads, cmdLIndex),
	oneKey("lset", 4, write|denyOOM, cmdLSet),
	oneKey("lrem", 4, write, cmdLRem),
	oneKey("ltrim", 4, write, cmdLTrim),
	oneKey("linsert", 5, write|denyOOM, cmdLInsert),
	oneKey("lpos", -3, readOnly|reads, cmdLPos),
	moves("lmove", 5, write|denyOOM, cmdLMove),
	moves("blmove", 6, write|denyOOM|noScript|blocking, cmdBLMove),
	moves("rpoplpush", 3, write|denyOOM, func(e *Engine, args []string) any { return e.move(args, right, left, nil) }),
	moves("brpoplpush", 4, write|denyOOM|noScript|blocking, cmdBRPopLPush),
	{name: "lmpop", arity: -4, flags: write | reads, keyCount: 1, run: cmdLMPop},
	{name: "blmpop", arity: -5, flags: write | blocking | reads, keyCount: 2, run: cmdBLMPop},
	{
		name: "blpop", arity: -3, flags: write | noScript | blocking | reads, firstKey: 1, lastKey: -2, keyStep: 1,
		run: cmdBPop,
	},
	{
		name: "brpop", arity: -3, flags: write | noScript | blocking | reads, firstKey: 1, lastKey: -2, keyStep: 1,
		run: cmdBPop,
	},
}

const (
	errNoKey       Error = "ERR no such key"
	errNotPositive Error = "ERR value is out of range, must be positive"
)

// nullArray is null in place of an array.
var nullArray []any

// readList returns the list at key, an empty one when there is none.
func (e *Engine) readList(key string) (*list, Error) {
	found, wrong := e.keys.findKind(key, listKind)
	if found == nil {
		return &list{}, wrong
	}
	return found.list, ""
}

// writeList returns the list at key and makes it when there is none.
func (e *Engine) writeList(key string) (*list, Error) {
	found, wrong := e.keys.findKind(key, listKind)
	if wrong != "" {
		return nil, wrong
	}
	if found == nil {
		found = &entry{kind: listKind, list: &list{}}
		e.keys.keys.set(key, found)
	}
	return found.list, ""
}

// deleteEmptied deletes the key of a list from which the last element is gone.
func (e *Engine) deleteEmptied(key string, l *list) {
	if l.len() == 0 {
		e.keys.delete(key)
	}
}

// endOf is the end of which the name of a command speaks.
func endOf(name string) end {
	if strings.HasPrefix(name, "l") {
		return left
	}
	return right
}

// parseEnd reads LEFT or RIGHT.
func parseEnd(s string) (end, Error) {
	switch strings.ToUpper(s) {
	case "LEFT":
		return left, ""
	case "RIGHT":
		return right, ""
	}
	return 0, errSyntax
}

// cmdPush is LPUSH, RPUSH, LPUSHX and RPUSHX.
func cmdPush(e *Engine, args []string) any {
	name := strings.ToLower(args[0])
	access := e.writeList
	if strings.HasSuffix(name, "x") {
		access = e.readList
	}
	l, wrong := access(args[1])
	switch {
	case wrong != "":
		return wrong
	case strings.HasSuffix(name, "x") && l.len() == 0:
		return int64(0)
	}
	for _, element := range args[2:] {
		l.push(endOf(name), element)
	}
	return int64(l.len())
}

// cmdPop is LPOP and RPOP.
func cmdPop(e *Engine, args []string) any {
	name := strings.ToLower(args[0])
	if len(args) > 3 {
		return wrongArity(name)
	}
	var empty any
	var invalid Error
	count, counted := int64(1), len(args) == 3
	if counted {
		empty = nullArray
		count, invalid = parseAtLeast(args[2], 0, errNotPositive)
	}
	if invalid != "" {
		return invalid
	}
	_, popped, wrong := e.popFirst(args[1:2], endOf(name), count)
	switch {
	case wrong != "":
		return wrong
	case popped == nil:
		return empty
	case !counted:
		return popped[0]
	}
	return popped
}

// popFirst pops up to count elements from the first of the keys that is there.
// Without one it returns nil.
func (e *Engine) popFirst(keys []string, from end, count int64) (key string, popped []any, wrong Error) {
	for _, key := range keys {
		l, wrong := e.readList(key)
		if wrong != "" {
			return "", nil, wrong
		}
		if l.len() == 0 {
			continue
		}
		popped := anySlice(l.pop(from, int(min(count, int64(l.len())))))
		e.deleteEmptied(key, l)
		return key, popped, ""
	}
	return "", nil, ""
}

func anySlice(texts []string) []any {
	items := make([]any, len(texts))
	for i, text := range texts {
		items[i] = text
	}
	return items
}

func cmdLLen(e *Engine, args []string) any {
	l, wrong := e.readList(args[1])
	if wrong != "" {
		return wrong
	}
	return int64(l.len())
}

func cmdLRange(e *Engine, args []string) any {
	start, ok := parseInt(args[2])
	stop, ok2 := parseInt(args[3])
	if !ok || !ok2 {
		return errNotInt
	}
	l, wrong := e.readList(args[1])
	if wrong != "" {
		return wrong
	}
	from, to := rankRange(l.len(), start, stop)
	return anySlice(l.elements()[from:to])
}

func cmdLTrim(e *Engine, args []string) any {
	start, ok := parseInt(args[2])
	stop, ok2 := parseInt(args[3])
	if !ok || !ok2 {
		return errNotInt
	}
	l, wrong := e.readList(args[1])
	if wrong != "" {
		return wrong
	}
	l.keep(rankRange(l.len(), start, stop))
	e.deleteEmptied(args[1], l)
	return Status("OK")
}

func cmdLIndex(e *Engine, args []string) any {
	l, wrong := e.readList(args[1])
	switch {
	case wrong != "":
		return wrong
	case l.len() == 0:
		return nil
	}
	index, ok := parseInt(args[2])
	if !ok {
		return errNotInt
	}
	if at, exists := l.position(index); exists {
		return l.elements()[at]
	}
	return nil
}

func cmdLSet(e *Engine, args []string) any {
	l, wrong := e.readList(args[1])
	switch {
	case wrong != "":
		return wrong
	case l.len() == 0:
		return errNoKey
	}
	index, ok := parseInt(args[2])
	if !ok {
		return errNotInt
	}
	at, exists := l.position(index)
	if !exists {
		return Error("ERR index out of range")
	}
	l.elements()[at] = args[3]
	return Status("OK")
}

func cmdLRem(e *Engine, args []string) any {
	count, ok := parseInt(args[2])
	if !ok {
		return errNotInt
	}
	l, wrong := e.readList(args[1])
	if wrong != "" {
		return wrong
	}
	elements := l.elements()
	if count < 0 {
		slices.Reverse(elements)
	}
	var removed int64
	rest := slices.DeleteFunc(elements, func(element string) bool {
		remove := element == args[3] && (count == 0 || removed != max(count, -count))
		if remove {
			removed++
		}
		return remove
	})
	if count < 0 {
		slices.Reverse(rest)
	}
	l.keep(0, len(rest))
	e.deleteEmptied(args[1], l)
	return removed
}

func cmdLInsert(e *Engine, args []string) any {
	after := 0
	switch strings.ToUpper(args[2]) {
	case "BEFORE":
	case "AFTER":
		after = 1
	default:
		return errSyntax
	}
	l, wrong := e.readList(args[1])
	switch {
	case wrong != "":
		return wrong
	case l.len() == 0:
		return int64(0)
	}
	pivot := slices.Index(l.elements(), args[3])
	if pivot < 0 {
		return int64(-1)
	}
	l.slots = slices.Insert(l.slots, l.free+pivot+after, args[4])
	return int64(l.len())
}

func cmdLPos(e *Engine, args []string) any {
	rank, count, longest := int64(1), int64(-1), int64(0)
	for i := 3; i < len(args); i += 2 {
		if i+1 == len(args) {
			return errSyntax
		}
		var invalid Error
		switch strings.ToUpper(args[i]) {
		case "RANK":
			var ok bool
			if rank, ok = parseInt(args[i+1]); !ok {
				return errNotInt
			}
			if rank == 0 {
				return Error("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... " +
					"or use negative to start from the end of the list")
			}
		case "COUNT":
			count, invalid = parseAtLeast(args[i+1], 0, "ERR COUNT can't be negative")
		case "MAXLEN":
			longest, invalid = parseAtLeast(args[i+1], 0, "ERR MAXLEN can't be negative")
		default:
			return errSyntax
		}
		if invalid != "" {
			return invalid
		}
	}
	l, wrong := e.readList(args[1])
	if wrong != "" {
		return wrong
	}
	found := l.find(args[2], rank, max(count, 0), longest)
	switch {
	case count >= 0:
		return found
	case len(found) > 0:
		return found[0]
	}
	return nil
}

func cmdLMove(e *Engine, args []string) any {
	from, to, invalid := parseEnds(args)
	if invalid != "" {
		return invalid
	}
	return e.move(args, from, to, nil)
}

func cmdBLMove(e *Engine, args []string) any {
	from, to, invalid := parseEnds(args)
	if invalid == "" {
		invalid = checkTimeout(args[5])
	}
	if invalid != "" {
		return invalid
	}
	return e.move(args, from, to, e.orWait(nil))
}

func cmdBRPopLPush(e *Engine, args []string) any {
	if invalid := checkTimeout(args[3]); invalid != "" {
		return invalid
	}
	return e.move(args, right, left, e.orWait(nil))
}

// parseEnds reads the two ends of LMOVE and BLMOVE.
func parseEnds(args []string) (from, to end, invalid Error) {
	if from, invalid = parseEnd(args[3]); invalid == "" {
		to, invalid = parseEnd(args[4])
	}
	return from, to, invalid
}

// move moves an element from the list at the first key to that at the second.
// Without the first it replies empty.
func (e *Engine) move(args []string, from, to end, empty any) any {
	source, wrong := e.readList(args[1])
	switch {
	case wrong != "":
		return wrong
	case source.len() == 0:
		return empty
	}
	target, wrong := e.writeList(args[2])
	if wrong != "" {
		return wrong
	}
	element := source.pop(from, 1)[0]
	target.push(to, element)
	e.deleteEmptied(args[1], source)
	return element
}

// cmdBPop is BLPOP and BRPOP.
func cmdBPop(e *Engine, args []string) any {
	last := len(args) - 1
	if invalid := checkTimeout(args[last]); invalid != "" {
		return invalid
	}
	key, popped, wrong := e.popFirst(args[1:last], endOf(strings.ToLower(args[0])[1:]), 1)
	switch {
	case wrong != "":
		return wrong
	case popped == nil:
		return e.orWait(nullArray)
	}
	return []any{key, popped[0]}
}

func cmdLMPop(e *Engine, args []string) any {
	p, invalid := parseMPop(args[1:])
	if invalid != "" {
		return invalid
	}
	return e.mpop(p, nullArray)
}

func cmdBLMPop(e *Engine, args []string) any {
	p, invalid := parseMPop(args[2:])
	if invalid == "" {
		invalid = checkTimeout(args[1])
	}
	if invalid != "" {
		return invalid
	}
	return e.mpop(p, e.orWait(nullArray))
}

// mpop is what LMPOP and BLMPOP are to pop.
type mpop struct {
	keys  []string
	from  end
	count int64
}

// parseMPop reads the arguments from the number of keys on.
func parseMPop(args []string) (p mpop, invalid Error) {
	keys, invalid := parseAtLeast(args[0], 1, "ERR numkeys should be greater than 0")
	if invalid != "" {
		return p, invalid
	}
	if keys >= int64(len(args)-1) {
		return p, errSyntax
	}
	p.keys, args = args[1:keys+1], args[keys+1:]
	if p.from, invalid = parseEnd(args[0]); invalid != "" {
		return p, invalid
	}
	switch {
	case len(args) == 1:
		p.count = 1
		return p, ""
	case len(args) == 2 || !strings.EqualFold(args[1], "COUNT"):
		return p, errSyntax
	}
	if p.count, invalid = parseAtLeast(args[2], 1, "ERR count should be greater than 0"); invalid == "" && len(args) > 3 {
		invalid = errSyntax
	}
	return p, invalid
}

// mpop replies with what it has popped, or with empty where there is no list.
func (e *Engine) mpop(p mpop, empty any) any {
	key, popped, wrong := e.popFirst(p.keys, p.from, p.count)
	switch {
	case wrong != "":
		return wrong
	case popped == nil:
		return empty
	}
	return []any{key, popped}
}
