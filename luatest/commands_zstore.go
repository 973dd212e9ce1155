package luatest

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// zcombination is what a command makes of several sorted sets.
type zcombination struct {
	combine func(inputs []zinput, aggregate func(a, b float64) float64) *zset
	// plain is true of a difference, which keeps the scores of its first set.
	plain bool
	// counts is true when only the number of members is asked for.
	counts bool
}

var (
	zunion     = zcombination{combine: scoredUnion}
	zinter     = zcombination{combine: scoredIntersection}
	zdiff      = zcombination{combine: scoredDifference, plain: true}
	zinterCard = zcombination{combine: scoredIntersection, counts: true}
)

var zstoreCommands = []*command{
	combines("zunion", zunion),
	combines("zinter", zinter),
	combines("zdiff", zdiff),
	combines("zintercard", zinterCard),
	storesCombined("zunionstore", zunion),
	storesCombined("zinterstore", zinter),
	storesCombined("zdiffstore", zdiff),
	{
		name: "zrangestore", arity: -5, flags: write | denyOOM, firstKey: 1, lastKey: 2, keyStep: 1,
		perKey: []permission{mayWrite, mayRead}, run: cmdZRangeStore,
	},
}

// combines describes a command that replies with what it makes of its keys.
func combines(name string, c zcombination) *command {
	return &command{name: name, arity: -3, flags: readOnly | reads, keyCount: 1, run: func(e *Engine, args []string) any {
		result, o, invalid := e.combined(name, args[1:], c, false)
		switch {
		case invalid != "":
			return invalid
		case c.counts && o.limit > 0:
			return min(o.limit, int64(len(result.members)))
		case c.counts:
			return int64(len(result.members))
		}
		return membersReply(result.members, o.withScores)
	}}
}

// storesCombined describes a command that stores it under its first key.
func storesCombined(name string, c zcombination) *command {
	return &command{
		name: name, arity: -4, flags: write | denyOOM, firstKey: 1, lastKey: 1, keyStep: 1, keyCount: 2,
		perKey: []permission{mayWrite, mayRead},
		run: func(e *Engine, args []string) any {
			result, _, invalid := e.combined(name, args[2:], c, true)
			if invalid != "" {
				return invalid
			}
			return e.storeZset(args[1], result)
		},
	}
}

// zinput is one of the sorted sets that are combined; the members of a set have
// the score 1.
type zinput struct {
	*zset
	weight float64
}

// combined makes a set of those that args name, from their number on.
func (e *Engine) combined(name string, args []string, c zcombination, stored bool) (*zset, zoptions, Error) {
	n, ok := parseInt(args[0])
	switch {
	case !ok:
		return nil, zoptions{}, errNotInt
	case n < 1:
		return nil, zoptions{}, Error("ERR at least 1 input key is needed for '" + name + "' command")
	case n >= int64(len(args)):
		return nil, zoptions{}, errSyntax
	}
	inputs := make([]zinput, n)
	for i, key := range args[1 : n+1] {
		z, wrong := e.readScored(key)
		if wrong != "" {
			return nil, zoptions{}, wrong
		}
		inputs[i] = zinput{z, 1}
	}
	o, invalid := parseZOptions(args[n+1:], inputs, c, stored)
	if invalid != "" {
		return nil, o, invalid
	}
	return c.combine(inputs, o.aggregate), o, ""
}

// readScored returns the sorted set at key, or one of the members of a set there.
func (e *Engine) readScored(key string) (*zset, Error) {
	found := e.keys.find(key)
	if found == nil || found.kind != setKind {
		return e.readZset(key)
	}
	z := newZset()
	for _, member := range found.set.members {
		z.set(member, 1)
	}
	return z, ""
}

// zoptions are what may follow the keys.
type zoptions struct {
	aggregate  func(a, b float64) float64
	withScores bool
	limit      int64
}

// parseZOptions reads the options, and puts the weights into the inputs.
func parseZOptions(options []string, inputs []zinput, c zcombination, stored bool) (zoptions, Error) {
	o := zoptions{aggregate: addScores}
	weighs := !c.plain && !c.counts
	for len(options) > 0 {
		option, used := strings.ToUpper(options[0]), 2
		switch {
		case option == "WEIGHTS" && weighs && len(options) > len(inputs):
			used = len(inputs) + 1
			for i, text := range options[1:used] {
				var ok bool
				if inputs[i].weight, ok = parseScore(text); !ok {
					return o, "ERR weight value is not a float"
				}
			}
		case option == "AGGREGATE" && weighs && len(options) > 1:
			o.aggregate = aggregates[strings.ToUpper(options[1])]
			if o.aggregate == nil {
				return o, errSyntax
			}
		case option == "WITHSCORES" && !stored && !c.counts:
			o.withScores, used = true, 1
		case option == "LIMIT" && c.counts && len(options) > 1:
			var invalid Error
			if o.limit, invalid = parseAtLeast(options[1], 0, "ERR LIMIT can't be negative"); invalid != "" {
				return o, invalid
			}
		default:
			return o, errSyntax
		}
		options = options[used:]
	}
	return o, ""
}

var aggregates = map[string]func(a, b float64) float64{
	"SUM": addScores,
	"MIN": func(a, b float64) float64 {
		if b < a {
			return b
		}
		return a
	},
	"MAX": func(a, b float64) float64 {
		if b > a {
			return b
		}
		return a
	},
}

// addScores adds; opposite infinities are 0 together.
func addScores(a, b float64) float64 { return numberOr0(a + b) }

func numberOr0(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return x
}

// bySize puts the small sets first, as Redis does. The order shows in sums of
// floating-point numbers.
func bySize(inputs []zinput) {
	slices.SortStableFunc(inputs, func(a, b zinput) int { return cmp.Compare(len(a.members), len(b.members)) })
}

func scoredUnion(inputs []zinput, aggregate func(a, b float64) float64) *zset {
	bySize(inputs)
	scores := map[string]float64{}
	for _, input := range inputs {
		for _, m := range input.members {
			score := numberOr0(input.weight * m.score)
			if sofar, exists := scores[m.name]; exists {
				score = aggregate(sofar, score)
			}
			scores[m.name] = score
		}
	}
	result := newZset()
	for name, score := range scores {
		result.set(name, score)
	}
	return result
}

func scoredIntersection(inputs []zinput, aggregate func(a, b float64) float64) *zset {
	bySize(inputs)
	result := newZset()
members:
	for _, m := range inputs[0].members {
		score := numberOr0(inputs[0].weight * m.score)
		for _, input := range inputs[1:] {
			other, exists := input.scores.get(m.name)
			if !exists {
				continue members
			}
			score = aggregate(score, input.weight*other)
		}
		result.set(m.name, score)
	}
	return result
}

func scoredDifference(inputs []zinput, _ func(a, b float64) float64) *zset {
	result := newZset()
	for _, m := range inputs[0].members {
		if !slices.ContainsFunc(inputs[1:], func(input zinput) bool {
			_, exists := input.scores.get(m.name)
			return exists
		}) {
			result.set(m.name, m.score)
		}
	}
	return result
}

func cmdZRangeStore(e *Engine, args []string) any {
	r, invalid := parseZRange(args[5:], zrange{stored: true}, true)
	if invalid != "" {
		return invalid
	}
	members, failed := e.selectMembers(args[2], r, args[3], args[4])
	if failed != "" {
		return failed
	}
	stored := newZset()
	for _, m := range members {
		stored.set(m.name, m.score)
	}
	return e.storeZset(args[1], stored)
}

// storeZset puts a set where a command stores its result: an empty one is no key.
// The compact encoding knows no -0.
func (e *Engine) storeZset(key string, z *zset) any {
	if len(z.members) == 0 {
		e.keys.delete(key)
	} else {
		for i := range z.members {
			if m := &z.members[i]; m.score == 0 && !z.large {
				m.score = 0
				z.scores.set(m.name, 0)
			}
		}
		e.keys.keys.set(key, &entry{kind: zsetKind, zset: z})
	}
	return int64(len(z.members))
}
