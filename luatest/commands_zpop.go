package luatest

import (
	"slices"
	"strings"
)

var zpopCommands = []*command{
	oneKey("zpopmin", -2, write|fast|reads, func(e *Engine, args []string) any { return e.zpop(args, false) }),
	oneKey("zpopmax", -2, write|fast|reads, func(e *Engine, args []string) any { return e.zpop(args, true) }),
	{name: "zmpop", arity: -4, flags: write | reads, keyCount: 1, run: cmdZMPop},
	{
		name: "bzpopmin", arity: -3, flags: write | noScript | fast | blocking | reads, firstKey: 1, lastKey: -2, keyStep: 1,
		run: func(e *Engine, args []string) any { return e.bzpop(args, false) },
	},
	{
		name: "bzpopmax", arity: -3, flags: write | noScript | fast | blocking | reads, firstKey: 1, lastKey: -2, keyStep: 1,
		run: func(e *Engine, args []string) any { return e.bzpop(args, true) },
	},
	{name: "bzmpop", arity: -5, flags: write | blocking | reads, keyCount: 2, run: cmdBZMPop},
}

// popMembers takes count members from the set at key, the least or the greatest.
func (e *Engine) popMembers(key string, z *zset, greatest bool, count int64) []zmember {
	from, to := z.rankRange(0, count-1)
	if greatest {
		from, to = len(z.members)-to, len(z.members)-from
	}
	popped := slices.Clone(z.members[from:to])
	if greatest {
		slices.Reverse(popped)
	}
	z.deleteRange(from, to)
	if len(z.members) == 0 {
		e.keys.delete(key)
	}
	return popped
}

func (e *Engine) zpop(args []string, greatest bool) any {
	if len(args) > 3 {
		return errSyntax
	}
	count := int64(1)
	if len(args) == 3 {
		var invalid Error
		if count, invalid = parseAtLeast(args[2], 0, "ERR value is out of range, must be positive"); invalid != "" {
			return invalid
		}
	}
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	if count == 0 || len(z.members) == 0 {
		return []any{}
	}
	return membersReply(e.popMembers(args[1], z, greatest, count), true)
}

// popFirstZset pops from the first of the keys that there is.
func (e *Engine) popFirstZset(keys []string, greatest bool, count int64) (key string, popped []zmember, _ Error) {
	for _, key := range keys {
		z, wrong := e.readZset(key)
		if wrong != "" {
			return "", nil, wrong
		}
		if len(z.members) > 0 {
			return key, e.popMembers(key, z, greatest, count), ""
		}
	}
	return "", nil, ""
}

// zmpop is what ZMPOP and BZMPOP are to pop.
type zmpop struct {
	keys     []string
	greatest bool
	count    int64
}

// parseZMPop reads the arguments from the number of keys on.
func parseZMPop(args []string) (p zmpop, _ Error) {
	keys, invalid := parseAtLeast(args[0], 1, "ERR numkeys should be greater than 0")
	switch {
	case invalid != "":
		return p, invalid
	case keys >= int64(len(args)-1):
		return p, errSyntax
	}
	p.keys, args = args[1:keys+1], args[keys+1:]
	switch strings.ToUpper(args[0]) {
	case "MIN":
	case "MAX":
		p.greatest = true
	default:
		return p, errSyntax
	}
	p.count = 1
	if len(args) > 1 {
		if len(args) == 2 || !strings.EqualFold(args[1], "COUNT") {
			return p, errSyntax
		}
		if p.count, invalid = parseAtLeast(args[2], 1, "ERR count should be greater than 0"); invalid != "" {
			return p, invalid
		}
		if len(args) > 3 {
			return p, errSyntax
		}
	}
	return p, ""
}

func (e *Engine) zmpop(p zmpop) any {
	key, popped, wrong := e.popFirstZset(p.keys, p.greatest, p.count)
	switch {
	case wrong != "":
		return wrong
	case popped == nil:
		return nullArray
	}
	pairs := make([]any, len(popped))
	for i, m := range popped {
		pairs[i] = []any{m.name, formatFloat(m.score, 17)}
	}
	return []any{key, pairs}
}

func cmdZMPop(e *Engine, args []string) any {
	p, invalid := parseZMPop(args[1:])
	if invalid != "" {
		return invalid
	}
	return e.zmpop(p)
}

func cmdBZMPop(e *Engine, args []string) any {
	p, invalid := parseZMPop(args[2:])
	if invalid == "" {
		invalid = checkTimeout(args[1])
	}
	if invalid != "" {
		return invalid
	}
	return e.orWait(e.zmpop(p))
}

func (e *Engine) bzpop(args []string, greatest bool) any {
	last := len(args) - 1
	if invalid := checkTimeout(args[last]); invalid != "" {
		return invalid
	}
	key, popped, wrong := e.popFirstZset(args[1:last], greatest, 1)
	switch {
	case wrong != "":
		return wrong
	case popped == nil:
		return e.orWait(nullArray)
	}
	return append([]any{key}, membersReply(popped, true)...)
}
