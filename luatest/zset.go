package luatest

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// zmember is one member of a sorted set with its score.
type zmember struct {
	score float64
	name  string
}

func (m zmember) compare(o zmember) int {
	if c := cmp.Compare(m.score, o.score); c != 0 {
		return c
	}
	return strings.Compare(m.name, o.name)
}

// zset is a sorted set: its members ordered by score, then by bytes.
type zset struct {
	members []zmember
	scores  *dict[float64]
	// large is set for good once the set has outgrown the compact encoding,
	// which ZSCAN returns whole.
	large bool
}

// Redis's defaults for zset-max-listpack-entries and zset-max-listpack-value.
const (
	compactMembers = 128
	compactBytes   = 64
)

func newZset() *zset { return &zset{scores: newDict[float64]()} }

func (z *zset) set(name string, score float64) {
	old, exists := z.scores.get(name)
	if exists && old == score {
		return
	}
	if exists {
		i, _ := z.position(name)
		z.members = slices.Delete(z.members, i, i+1)
	}
	z.scores.set(name, score)
	m := zmember{score, name}
	i, _ := slices.BinarySearchFunc(z.members, m, zmember.compare)
	z.members = slices.Insert(z.members, i, m)
	if len(z.members) > compactMembers || len(name) > compactBytes {
		z.large = true
	}
}

// position returns the rank of name.
func (z *zset) position(name string) (int, bool) {
	score, exists := z.scores.get(name)
	if !exists {
		return 0, false
	}
	return slices.BinarySearchFunc(z.members, zmember{score, name}, zmember.compare)
}

func (z *zset) delete(name string) bool {
	i, exists := z.position(name)
	if exists {
		z.deleteRange(i, i+1)
	}
	return exists
}

func (z *zset) deleteRange(from, to int) {
	for _, m := range z.members[from:to] {
		z.scores.delete(m.name)
	}
	z.members = slices.Delete(z.members, from, to)
}

func (z *zset) clone() *zset {
	return &zset{
		members: slices.Clone(z.members),
		scores:  z.scores.clone(func(s float64) float64 { return s }),
		large:   z.large,
	}
}

// interval is a range over a sorted set, as two tests on its members: each is
// false for a run of members at the start and true for the rest.
type interval struct {
	from   func(zmember) bool // at or after the lower bound
	beyond func(zmember) bool // after the upper bound
}

// locate returns the positions of the members in r, as a half-open range.
func (z *zset) locate(r interval) (from, to int) {
	from = sort.Search(len(z.members), func(i int) bool { return r.from(z.members[i]) })
	to = sort.Search(len(z.members), func(i int) bool { return r.beyond(z.members[i]) })
	return from, max(from, to)
}

const (
	errScoreRange Error = "ERR min or max is not a float"
	errLexRange   Error = "ERR min or max not valid string range item"
)

func scoreInterval(low, high string) (interval, Error) {
	least, leastOpen, ok := scoreBound(low)
	if !ok {
		return interval{}, errScoreRange
	}
	most, mostOpen, ok := scoreBound(high)
	if !ok {
		return interval{}, errScoreRange
	}
	return interval{
		from:   func(m zmember) bool { return m.score > least || !leastOpen && m.score == least },
		beyond: func(m zmember) bool { return m.score > most || mostOpen && m.score == most },
	}, ""
}

func scoreBound(s string) (score float64, open, ok bool) {
	s, open = strings.CutPrefix(s, "(")
	if s = cString(s); s == "" {
		return 0, open, true // as strtod reads it
	}
	score, ok = parseFloat(s)
	return score, open, ok && score == score
}

func lexInterval(low, high string) (interval, Error) {
	from, ok := lexBound(low, false)
	if !ok {
		return interval{}, errLexRange
	}
	beyond, ok := lexBound(high, true)
	if !ok {
		return interval{}, errLexRange
	}
	return interval{from: from, beyond: beyond}, ""
}

// lexBound reads a bound such as [a, (a, - or +. The test is for members
// beyond an upper bound, or for those not below a lower one.
func lexBound(s string, upper bool) (func(zmember) bool, bool) {
	switch {
	case s == "-":
		return func(zmember) bool { return true }, true
	case s == "+":
		return func(zmember) bool { return false }, true
	case strings.HasPrefix(s, "["):
		s = s[1:]
		if upper {
			return func(m zmember) bool { return m.name > s }, true
		}
		return func(m zmember) bool { return m.name >= s }, true
	case strings.HasPrefix(s, "("):
		s = s[1:]
		if upper {
			return func(m zmember) bool { return m.name >= s }, true
		}
		return func(m zmember) bool { return m.name > s }, true
	}
	return nil, false
}
