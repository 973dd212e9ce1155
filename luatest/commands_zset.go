package luatest

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

var zsetCommands = []*command{
	oneKey("zadd", -4, write|denyOOM|fast, cmdZAdd),
	oneKey("zincrby", 4, write|denyOOM|fast|reads, cmdZIncrBy),
	oneKey("zrem", -3, write|fast, cmdZRem),
	oneKey("zscore", 3, readOnly|fast|reads, cmdZScore),
	oneKey("zmscore", -3, readOnly|fast|reads, cmdZMScore),
	oneKey("zcard", 2, readOnly|fast, cmdZCard),
	oneKey("zcount", 4, readOnly|fast|reads, cmdZCount),
	oneKey("zlexcount", 4, readOnly|fast|reads, cmdZLexCount),
	oneKey("zrank", 3, readOnly|fast|reads, cmdZRank),
	oneKey("zrevrank", 3, readOnly|fast|reads, cmdZRevRank),
	oneKey("zrandmember", -2, readOnly|reads, cmdZRandMember),
	oneKey("zrange", -4, readOnly|reads, func(e *Engine, args []string) any { return e.zrange(args, zrange{}, true) }),
	oneKey("zrevrange", -4, readOnly|reads, func(e *Engine, args []string) any {
		return e.zrange(args, zrange{reverse: true}, false)
	}),
	oneKey("zrangebyscore", -4, readOnly|reads, func(e *Engine, args []string) any {
		return e.zrange(args, zrange{by: byScore}, false)
	}),
	oneKey("zrevrangebyscore", -4, readOnly|reads, func(e *Engine, args []string) any {
		return e.zrange(args, zrange{by: byScore, reverse: true}, false)
	}),
	oneKey("zrangebylex", -4, readOnly|reads, func(e *Engine, args []string) any {
		return e.zrange(args, zrange{by: byLex}, false)
	}),
	oneKey("zrevrangebylex", -4, readOnly|reads, func(e *Engine, args []string) any {
		return e.zrange(args, zrange{by: byLex, reverse: true}, false)
	}),
	oneKey("zremrangebyscore", 4, write, func(e *Engine, args []string) any { return e.zremrange(args, byScore) }),
	oneKey("zremrangebylex", 4, write, func(e *Engine, args []string) any { return e.zremrange(args, byLex) }),
	oneKey("zremrangebyrank", 4, write, func(e *Engine, args []string) any { return e.zremrange(args, byRank) }),
	oneKey("zscan", -3, readOnly|reads, cmdZScan),
}

// readZset returns the sorted set at key, an empty one when there is none.
func (e *Engine) readZset(key string) (*zset, Error) {
	entry, wrong := e.keys.findKind(key, zsetKind)
	if entry == nil {
		return newZset(), wrong
	}
	return entry.zset, ""
}

func cmdZAdd(e *Engine, args []string) any {
	var nx, xx, gt, lt, ch, incr bool
	i := 2
options:
	for ; i < len(args); i++ {
		switch strings.ToUpper(args[i]) {
		case "NX":
			nx = true
		case "XX":
			xx = true
		case "GT":
			gt = true
		case "LT":
			lt = true
		case "CH":
			ch = true
		case "INCR":
			incr = true
		default:
			break options
		}
	}
	pairs := args[i:]
	switch {
	case len(pairs) == 0 || len(pairs)%2 != 0:
		return errSyntax
	case nx && xx:
		return Error("ERR XX and NX options at the same time are not compatible")
	case gt && nx || lt && nx || gt && lt:
		return Error("ERR GT, LT, and/or NX options at the same time are not compatible")
	case incr && len(pairs) > 2:
		return Error("ERR INCR option supports a single increment-element pair")
	}
	scores := make([]float64, len(pairs)/2)
	for j := range scores {
		var ok bool
		if scores[j], ok = parseScore(pairs[2*j]); !ok {
			return errNotFloat
		}
	}
	found, wrong := e.keys.findKind(args[1], zsetKind)
	if wrong != "" {
		return wrong
	}
	if found == nil {
		if xx {
			if incr {
				return nil
			}
			return int64(0)
		}
		found = &entry{kind: zsetKind, zset: newZset()}
		e.keys.keys.set(args[1], found)
	}
	var added, updated int64
	var last any // what INCR replies: the new score, or null when a condition refused it
	for j, score := range scores {
		name := pairs[2*j+1]
		old, exists := found.zset.scores.get(name)
		if exists && incr {
			score += old
			if math.IsNaN(score) {
				return Error("ERR resulting score is not a number (NaN)")
			}
		}
		if exists && (nx || gt && score <= old || lt && score >= old) || !exists && xx {
			continue
		}
		if !exists {
			added++
		} else if score != old {
			updated++
		}
		found.zset.set(name, score)
		last = formatFloat(score, 17)
	}
	switch {
	case incr:
		return last
	case ch:
		return added + updated
	}
	return added
}

func cmdZIncrBy(e *Engine, args []string) any {
	return cmdZAdd(e, []string{"zadd", args[1], "INCR", args[2], args[3]})
}

func cmdZRem(e *Engine, args []string) any {
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	var removed int64
	for _, name := range args[2:] {
		if z.delete(name) {
			removed++
		}
	}
	if removed > 0 && len(z.members) == 0 {
		e.keys.delete(args[1])
	}
	return removed
}

func cmdZScore(e *Engine, args []string) any {
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	return z.scoreReply(args[2])
}

func (z *zset) scoreReply(name string) any {
	if score, exists := z.scores.get(name); exists {
		return formatFloat(score, 17)
	}
	return nil
}

func cmdZMScore(e *Engine, args []string) any {
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	scores := make([]any, 0, len(args)-2)
	for _, name := range args[2:] {
		scores = append(scores, z.scoreReply(name))
	}
	return scores
}

func cmdZCard(e *Engine, args []string) any {
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	return int64(len(z.members))
}

func cmdZCount(e *Engine, args []string) any {
	r, invalid := scoreInterval(args[2], args[3])
	return e.countInterval(args[1], r, invalid)
}

func cmdZLexCount(e *Engine, args []string) any {
	r, invalid := lexInterval(args[2], args[3])
	return e.countInterval(args[1], r, invalid)
}

func (e *Engine) countInterval(key string, r interval, invalid Error) any {
	if invalid != "" {
		return invalid
	}
	z, wrong := e.readZset(key)
	if wrong != "" {
		return wrong
	}
	from, to := z.locate(r)
	return int64(to - from)
}

func cmdZRank(e *Engine, args []string) any {
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	if rank, exists := z.position(args[2]); exists {
		return int64(rank)
	}
	return nil
}

func cmdZRevRank(e *Engine, args []string) any {
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	if rank, exists := z.position(args[2]); exists {
		return int64(len(z.members) - 1 - rank)
	}
	return nil
}

// rangeBy is what the bounds of a range are: ranks, scores or members.
type rangeBy int

const (
	byRank rangeBy = iota
	byScore
	byLex
)

// zrange is what the options of ZRANGE and its kin ask for.
type zrange struct {
	by         rangeBy
	reverse    bool
	withScores bool
	stored     bool
	limited    bool
	offset     int64
	limit      int64
}

// zrange runs a command of the form name key start stop [options]. fixed is
// what the command's name says; only ZRANGE itself may be told more by options.
func (e *Engine) zrange(args []string, fixed zrange, anyForm bool) any {
	r, invalid := parseZRange(args[4:], fixed, anyForm)
	if invalid != "" {
		return invalid
	}
	members, failed := e.selectMembers(args[1], r, args[2], args[3])
	if failed != "" {
		return failed
	}
	return membersReply(members, r.withScores)
}

// membersReply lists members, with their scores or without.
func membersReply(members []zmember, withScores bool) []any {
	items := make([]any, 0, len(members))
	for _, m := range members {
		items = append(items, m.name)
		if withScores {
			items = append(items, formatFloat(m.score, 17))
		}
	}
	return items
}

// parseZRange reads the options of a range.
func parseZRange(options []string, fixed zrange, anyForm bool) (zrange, Error) {
	r := fixed
	r.limit = -1
	for i := 0; i < len(options); i++ {
		switch option := strings.ToUpper(options[i]); {
		case option == "WITHSCORES" && !r.stored:
			r.withScores = true
		case option == "LIMIT" && i+2 < len(options):
			var ok, ok2 bool
			r.offset, ok = parseInt(options[i+1])
			r.limit, ok2 = parseInt(options[i+2])
			if !ok || !ok2 {
				return r, errNotInt
			}
			r.limited = true
			i += 2
		case option == "REV" && anyForm && !r.reverse:
			r.reverse = true
		case option == "BYSCORE" && anyForm && r.by == byRank:
			r.by = byScore
		case option == "BYLEX" && anyForm && r.by == byRank:
			r.by = byLex
		default:
			return r, errSyntax
		}
	}
	switch {
	// LIMIT 0 -1 is no limit, and Redis lets it pass where LIMIT may not stand.
	case r.by == byRank && r.limited && r.limit != -1:
		return r, "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
	case r.by == byLex && r.withScores:
		return r, "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
	}
	return r, ""
}

// selectMembers returns the members in a range, in the order asked for. One that
// is reversed, and not by rank, begins with its upper bound.
func (e *Engine) selectMembers(key string, r zrange, low, high string) ([]zmember, Error) {
	if r.by == byRank {
		start, ok := parseInt(low)
		stop, ok2 := parseInt(high)
		if !ok || !ok2 {
			return nil, errNotInt
		}
		z, wrong := e.readZset(key)
		if wrong != "" {
			return nil, wrong
		}
		from, to := z.rankRange(start, stop)
		if r.reverse {
			from, to = len(z.members)-to, len(z.members)-from
		}
		return ordered(z.members[from:to], r.reverse), ""
	}
	if r.reverse {
		low, high = high, low
	}
	bounds, invalid := r.by.interval(low, high)
	if invalid != "" {
		return nil, invalid
	}
	z, wrong := e.readZset(key)
	if wrong != "" {
		return nil, wrong
	}
	from, to := z.locate(bounds)
	members := ordered(z.members[from:to], r.reverse)
	if r.offset < 0 || r.offset >= int64(len(members)) {
		return nil, ""
	}
	members = members[r.offset:]
	if r.limit >= 0 && r.limit < int64(len(members)) {
		members = members[:r.limit]
	}
	return members, ""
}

func ordered(members []zmember, reverse bool) []zmember {
	if reverse {
		members = slices.Clone(members)
		slices.Reverse(members)
	}
	return members
}

// interval reads the bounds of a range by score or by member.
func (b rangeBy) interval(low, high string) (interval, Error) {
	if b == byLex {
		return lexInterval(low, high)
	}
	return scoreInterval(low, high)
}

func (z *zset) rankRange(start, stop int64) (from, to int) {
	return rankRange(len(z.members), start, stop)
}

// rankRange turns ranks, negative ones counted from the end, into positions.
func rankRange(size int, start, stop int64) (from, to int) {
	n := int64(size)
	if start < 0 {
		start = max(0, start+n)
	}
	if stop < 0 {
		stop += n
	}
	stop = min(stop, n-1)
	if start > stop || start >= n {
		return 0, 0
	}
	return int(start), int(stop) + 1
}

func (e *Engine) zremrange(args []string, by rangeBy) any {
	var locate func(*zset) (int, int)
	if by == byRank {
		start, ok := parseInt(args[2])
		stop, ok2 := parseInt(args[3])
		if !ok || !ok2 {
			return errNotInt
		}
		locate = func(z *zset) (int, int) { return z.rankRange(start, stop) }
	} else {
		bounds, invalid := by.interval(args[2], args[3])
		if invalid != "" {
			return invalid
		}
		locate = func(z *zset) (int, int) { return z.locate(bounds) }
	}
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	from, to := locate(z)
	if to == from {
		return int64(0)
	}
	z.deleteRange(from, to)
	if len(z.members) == 0 {
		e.keys.delete(args[1])
	}
	return int64(to - from)
}

func cmdZScan(e *Engine, args []string) any {
	cursor, ok := parseCursor(args[2])
	if !ok {
		return errCursor
	}
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	if len(z.members) == 0 {
		return scanReply(0, []any{})
	}
	options, invalid := parseScan(args[3:], false)
	if invalid != "" {
		return invalid
	}
	var names []string
	var next uint64
	if z.large {
		names, next = z.scores.scan(cursor, options.count)
	} else {
		for _, m := range z.members {
			names = append(names, m.name)
		}
	}
	items := []any{}
	for _, name := range names {
		if globMatch(options.pattern, name) {
			score, _ := z.scores.get(name)
			items = append(items, name, z.scanScore(score))
		}
	}
	return scanReply(next, items)
}

// scanScore prints a score for ZSCAN. The compact encoding stores whole scores
// as integers, and ZSCAN prints what is stored.
func (z *zset) scanScore(score float64) string {
	if whole := truncate(score); !z.large && math.Abs(score) <= 1<<62 && float64(whole) == score {
		return strconv.FormatInt(whole, 10)
	}
	return formatFloat(score, 17)
}
