package luatest

import (
	"math"
	"strconv"
	"strings"
)

var streamCommands = []*command{
	oneKey("xadd", -5, write|denyOOM|fast, cmdXAdd),
	oneKey("xlen", 2, readOnly|fast, cmdXLen),
	oneKey("xrange", -4, readOnly|reads, func(e *Engine, args []string) any {
		return e.xrange(args, args[2], args[3], false)
	}),
	oneKey("xrevrange", -4, readOnly|reads, func(e *Engine, args []string) any {
		return e.xrange(args, args[3], args[2], true)
	}),
	oneKey("xtrim", -4, write, cmdXTrim),
	oneKey("xdel", -3, write|fast, cmdXDel),
	oneKey("xsetid", -3, write|denyOOM|fast, cmdXSetID),
	{name: "xread", arity: -4, flags: readOnly | blocking | reads, keysAfter: "STREAMS", run: cmdXRead},
}

const errStreamID Error = "ERR Invalid stream ID specified as stream command argument"

// parseUint reads an unsigned number as C's strtoull does, but none that is
// spelled as a negative one should be.
func parseUint(s string) (uint64, bool) {
	if n, ok := parseInt(s); ok {
		return uint64(n), n >= 0
	}
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	digits, negative := strings.CutPrefix(s, "-")
	if !negative {
		digits = strings.TrimPrefix(s, "+")
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if negative {
		n = -n
	}
	return n, err == nil
}

// parseStreamID reads an ID, of which the part after the hyphen may be missing.
func parseStreamID(s string, missing uint64) (streamID, Error) {
	const longest = 127 // that Redis looks at
	ms, seq, whole := strings.Cut(cString(s), "-")
	id := streamID{seq: missing}
	var ok bool
	if id.ms, ok = parseUint(ms); ok && whole {
		id.seq, ok = parseUint(seq)
	}
	if !ok || len(s) > longest {
		return id, errStreamID
	}
	return id, ""
}

// parseStreamBound reads a bound of a range, which may be open, or - or +.
func parseStreamBound(s string, missing uint64) (id streamID, open bool, invalid Error) {
	switch cString(s) {
	case "-":
		return streamID{}, false, ""
	case "+":
		return maxStreamID, false, ""
	}
	if len(s) > 1 {
		s, open = strings.CutPrefix(s, "(")
	}
	id, invalid = parseStreamID(s, missing)
	return id, open, invalid
}

// readStream returns the stream at key, an empty one when there is none.
func (e *Engine) readStream(key string) (*stream, Error) {
	found, wrong := e.keys.findKind(key, streamKind)
	if found == nil {
		return &stream{}, wrong
	}
	return found.stream, ""
}

// xaddOptions are what XADD and XTRIM may say before an ID.
type xaddOptions struct {
	trim       trim
	mustExist  bool
	id         streamID
	idIsGiven  bool
	seqIsGiven bool
}

// parse reads the arguments and returns the position of the ID. XTRIM has none.
func (o *xaddOptions) parse(args []string, add bool) (int, Error) {
	limited, i := false, 2
options:
	for ; i < len(args); i++ {
		var invalid Error
		switch option := strings.ToUpper(args[i]); {
		case add && option == "*":
			break options
		case (option == "MAXLEN" || option == "MINID") && i+1 < len(args):
			i, invalid = o.parseTrim(option, args, i+1)
		case option == "LIMIT" && i+1 < len(args):
			i, limited = i+1, true
			o.trim.limit, invalid = parseNotNegative(args[i], "LIMIT")
		case add && option == "NOMKSTREAM":
			o.mustExist = true
		case add:
			if invalid = o.parseID(args[i]); invalid == "" {
				break options
			}
		default:
			invalid = errSyntax
		}
		if invalid != "" {
			return 0, invalid
		}
	}
	const defaultLimit = 100 * nodeEntries
	switch {
	case o.trim.limit > 0 && o.trim.by == "":
		return 0, "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
	case !add && o.trim.by == "":
		return 0, "ERR syntax error, XTRIM must be called with a trimming strategy"
	case limited && !o.trim.whole:
		return 0, "ERR syntax error, LIMIT cannot be used without the special ~ option"
	case !limited && o.trim.whole:
		o.trim.limit = defaultLimit
	}
	return i, ""
}

// parseTrim reads what follows MAXLEN or MINID and returns the position of its end.
func (o *xaddOptions) parseTrim(by string, args []string, i int) (int, Error) {
	if o.trim.by != "" {
		return 0, "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
	}
	o.trim.by = by
	if (args[i] == "~" || args[i] == "=") && i+1 < len(args) {
		o.trim.whole = args[i] == "~"
		i++
	}
	var invalid Error
	if by == "MAXLEN" {
		o.trim.length, invalid = parseNotNegative(args[i], by)
	} else {
		o.trim.least, invalid = parseStreamID(args[i], 0)
	}
	return i, invalid
}

func parseNotNegative(s, option string) (int64, Error) {
	n, ok := parseInt(s)
	switch {
	case !ok:
		return 0, errNotInt
	case n < 0:
		return 0, Error("ERR The " + option + " argument must be >= 0.")
	}
	return n, ""
}

// parseID reads an ID of XADD, of which the part after the hyphen may be *.
func (o *xaddOptions) parseID(s string) (invalid Error) {
	o.idIsGiven = true
	ms, anySeq := strings.CutSuffix(s, "-*")
	if anySeq && !strings.Contains(ms, "-") {
		s = ms
	}
	o.seqIsGiven = !anySeq
	o.id, invalid = parseStreamID(s, 0)
	return invalid
}

func cmdXAdd(e *Engine, args []string) any {
	var o xaddOptions
	at, invalid := o.parse(args, true)
	if invalid != "" {
		return invalid
	}
	switch pairs := len(args) - at - 1; {
	case pairs < 2 || pairs%2 != 0:
		return wrongArity("xadd")
	case o.seqIsGiven && o.id == streamID{}:
		return Error("ERR The ID specified in XADD must be greater than 0-0")
	}
	found, wrong := e.keys.findKind(args[1], streamKind)
	switch {
	case wrong != "":
		return wrong
	case found == nil && o.mustExist:
		return nil
	case found == nil:
		found = &entry{kind: streamKind, stream: &stream{}}
		e.keys.keys.set(args[1], found)
	}
	s := found.stream
	if s.last == maxStreamID {
		return Error("ERR The stream has exhausted the last possible ID, unable to add more items")
	}
	id := o.id
	sameMs := !o.seqIsGiven && id.ms == s.last.ms
	switch now := uint64(e.keys.nowMillis()); {
	case !o.idIsGiven && now > s.last.ms:
		id = streamID{ms: now}
	case sameMs && o.idIsGiven && s.last.seq == math.MaxUint64:
		return Error("ERR Elements are too large to be stored") // as Redis mostly says where no ID is left
	case sameMs, !o.idIsGiven:
		id = s.last.next()
	case id.compare(s.last) <= 0:
		return Error("ERR The ID specified in XADD is equal or smaller than the target stream top item")
	}
	s.add(streamEntry{id, args[at+1:]})
	s.trim(o.trim)
	return id.String()
}

func cmdXLen(e *Engine, args []string) any {
	s, wrong := e.readStream(args[1])
	if wrong != "" {
		return wrong
	}
	return int64(s.length)
}

// xrange is XRANGE and XREVRANGE, whose bounds stand in another order.
func (e *Engine) xrange(args []string, low, high string, reverse bool) any {
	from, open, invalid := parseStreamBound(low, 0)
	switch {
	case invalid != "":
		return invalid
	case open && from == maxStreamID:
		return Error("ERR invalid start ID for the interval")
	case open:
		from = from.next()
	}
	to, open, invalid := parseStreamBound(high, math.MaxUint64)
	switch {
	case invalid != "":
		return invalid
	case open && to == streamID{}:
		return Error("ERR invalid end ID for the interval")
	case open:
		to = to.previous()
	}
	count := int64(-1)
	for i := 4; i < len(args); i += 2 {
		if !strings.EqualFold(args[i], "COUNT") || i+1 == len(args) {
			return errSyntax
		}
		var ok bool
		if count, ok = parseInt(args[i+1]); !ok {
			return errNotInt
		}
		count = max(count, 0)
	}
	found, wrong := e.keys.findKind(args[1], streamKind)
	switch {
	case wrong != "":
		return wrong
	case found == nil:
		return []any{}
	case count == 0:
		return nullArray
	}
	return entriesReply(found.stream.between(from, to, reverse, max(count, 0)))
}

func entriesReply(entries []streamEntry) []any {
	items := make([]any, len(entries))
	for i, e := range entries {
		items[i] = []any{e.id.String(), anySlice(e.pairs)}
	}
	return items
}

func cmdXTrim(e *Engine, args []string) any {
	var o xaddOptions
	if _, invalid := o.parse(args, false); invalid != "" {
		return invalid
	}
	s, wrong := e.readStream(args[1])
	if wrong != "" {
		return wrong
	}
	return s.trim(o.trim)
}

func cmdXDel(e *Engine, args []string) any {
	found, wrong := e.keys.findKind(args[1], streamKind)
	switch {
	case wrong != "":
		return wrong
	case found == nil:
		return int64(0)
	}
	ids := make([]streamID, len(args)-2)
	for i := range ids {
		var invalid Error
		if ids[i], invalid = parseStreamID(args[2+i], 0); invalid != "" {
			return invalid
		}
	}
	var deleted int64
	for _, id := range ids {
		if found.stream.delete(id) {
			deleted++
		}
	}
	return deleted
}

// cmdXSetID sets the last ID. What the options set shows only in XINFO.
func cmdXSetID(e *Engine, args []string) any {
	id, invalid := parseStreamID(args[2], 0)
	if invalid != "" {
		return invalid
	}
	added := int64(-1)
	for i := 3; i < len(args); i += 2 {
		option := strings.ToUpper(args[i])
		switch {
		case option == "ENTRIESADDED" && i+1 < len(args):
			var ok bool
			if added, ok = parseInt(args[i+1]); !ok {
				return errNotInt
			}
			if added < 0 {
				return Error("ERR entries_added must be positive")
			}
		case option == "MAXDELETEDID" && i+1 < len(args):
			deleted, invalid := parseStreamID(args[i+1], 0)
			if invalid != "" {
				return invalid
			}
			if id.compare(deleted) < 0 {
				return Error("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
			}
		default:
			return errSyntax
		}
	}
	found, wrong := e.keys.findKind(args[1], streamKind)
	switch {
	case wrong != "":
		return wrong
	case found == nil:
		return errNoKey
	case found.stream.length > 0 && id.compare(found.stream.top()) < 0:
		return Error("ERR The ID specified in XSETID is smaller than the target stream top item")
	case added >= 0 && added < int64(found.stream.length):
		return Error("ERR The entries_added specified in XSETID is smaller than the target stream length")
	}
	found.stream.last = id
	return Status("OK")
}

// xread is what XREAD is asked for.
type xread struct {
	count  int64
	blocks bool
	keys   []string
	ids    []string
}

// parseXRead reads the arguments of XREAD.
func (e *Engine) parseXRead(args []string) (x xread, invalid Error) {
	for i := 1; i < len(args); i++ {
		following := len(args) - 1 - i
		switch option := strings.ToUpper(args[i]); {
		case option == "BLOCK" && following > 0 && e.inScript:
			return x, Error(oneLine("ERR " + cString(args[0]) + " command is not allowed with BLOCK option from scripts"))
		case option == "BLOCK" && following > 0:
			i++
			x.blocks = true
			if timeout, ok := parseInt(args[i]); !ok {
				return x, "ERR timeout is not an integer or out of range"
			} else if timeout < 0 {
				return x, "ERR timeout is negative"
			}
		case option == "COUNT" && following > 0:
			i++
			var ok bool
			if x.count, ok = parseInt(args[i]); !ok {
				return x, errNotInt
			}
			x.count = max(x.count, 0)
		case option == "STREAMS" && following > 0:
			if following%2 != 0 {
				return x, "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
			}
			x.keys, x.ids = args[i+1:i+1+following/2], args[i+1+following/2:]
			return x, ""
		case option == "GROUP" && following > 1, option == "NOACK":
			return x, Error("ERR The " + option + " option is only supported by XREADGROUP. You called XREAD instead.")
		default:
			return x, errSyntax
		}
	}
	return x, errSyntax
}

func cmdXRead(e *Engine, args []string) any {
	x, invalid := e.parseXRead(args)
	if invalid != "" {
		return invalid
	}
	streams, after := make([]*stream, len(x.keys)), make([]streamID, len(x.keys))
	for i, key := range x.keys {
		var wrong Error
		if streams[i], wrong = e.readStream(key); wrong != "" {
			return wrong
		}
		switch x.ids[i] {
		case "$":
			after[i] = streams[i].last
		case ">":
			return Error("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.")
		default:
			if after[i], invalid = parseStreamID(x.ids[i], 0); invalid != "" {
				return invalid
			}
		}
	}
	var replies []any
	for i, s := range streams {
		if s.length > 0 && s.top().compare(after[i]) > 0 {
			entries := s.between(after[i].next(), maxStreamID, false, x.count)
			replies = append(replies, []any{x.keys[i], entriesReply(entries)})
		}
	}
	switch {
	case len(replies) > 0:
		return replies
	case x.blocks && !e.queued:
		return errBlocking
	}
	return nullArray
}
