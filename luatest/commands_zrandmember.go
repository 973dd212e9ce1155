package luatest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// SetRandomSeed sets the seed for the choices of ZRANDMEMBER, HRANDFIELD, SRANDMEMBER,
// SPOP and RANDOMKEY. A new engine has the seed 0, so the same commands make the same
// choices in each run. A clone makes the same choices that its original would make next.
// Scripts seed math.random themselves.
func (e *Engine) SetRandomSeed(seed uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.random.Seed(seed, 0)
}

// parseChoice reads the arguments after a key of how many elements to choose:
// a number, and an option that wants more than their names.
func parseChoice(args []string, option string) (count int64, more bool, _ Error) {
	count, ok := parseInt(args[0])
	more = len(args) == 2 && strings.EqualFold(args[1], option)
	var invalid Error
	switch {
	case !ok:
		invalid = errNotInt
	case count == math.MinInt64:
		invalid = Error(fmt.Sprintf("ERR value is out of range, value must between %d and %d", -math.MaxInt64, math.MaxInt64))
	case len(args) > 1 && !more:
		invalid = errSyntax
	case more && (count > math.MaxInt64/2 || count < -(math.MaxInt64/2)):
		invalid = "ERR value is out of range"
	}
	return count, more, invalid
}

func cmdZRandMember(e *Engine, args []string) any {
	if len(args) == 2 {
		z, wrong := e.readZset(args[1])
		switch {
		case wrong != "":
			return wrong
		case len(z.members) == 0:
			return nil
		}
		return z.members[rand.New(&e.random).IntN(len(z.members))].name
	}
	count, withScores, invalid := parseChoice(args[2:], "WITHSCORES")
	if invalid != "" {
		return invalid
	}
	z, wrong := e.readZset(args[1])
	if wrong != "" {
		return wrong
	}
	items := []any{}
	for _, at := range z.choose(rand.New(&e.random), count) {
		items = append(items, z.members[at].name)
		if withScores {
			items = append(items, formatFloat(z.members[at].score, 17))
		}
	}
	return items
}

// choose returns the positions of count members, each at most once, or of
// -count members that may repeat. The order is that of Redis, which returns a
// whole set from its end and a part of a compact one from its beginning. Of a
// large set the order of a part is open.
func (z *zset) choose(r *rand.Rand, count int64) []int {
	positions := choose(r, len(z.members), count)
	switch {
	case count >= int64(len(z.members)):
		slices.Reverse(positions)
	case count > 0 && !z.large:
		slices.Sort(positions)
	}
	return positions
}

// choose returns count different positions below size, or -count of them that
// may repeat. All of them are in order.
func choose(r *rand.Rand, size int, count int64) []int {
	var positions []int
	switch {
	case size == 0:
	case count < 0:
		for range -count {
			positions = append(positions, r.IntN(size))
		}
	case count >= int64(size):
		for at := range size {
			positions = append(positions, at)
		}
	default:
		positions = sample(r, size, int(count))
	}
	return positions
}

// sample returns count different positions below size. Each subset is as likely
// as any other: when a position is taken, the highest one so far, which cannot
// be, takes its place.
func sample(r *rand.Rand, size, count int) []int {
	var positions []int
	chosen := map[int]bool{}
	for highest := size - count; highest < size; highest++ {
		at := r.IntN(highest + 1)
		if chosen[at] {
			at = highest
		}
		chosen[at] = true
		positions = append(positions, at)
	}
	return positions
}
