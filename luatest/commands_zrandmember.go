package luatest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// SetRandomSeed sets the seed of the choices that ZRANDMEMBER, SRANDMEMBER and
// SPOP make. A new engine has the seed 0, and the same commands choose the same
// members each time that they run. A clone goes on as its original would have.
// Scripts seed math.random themselves.
func (e *Engine) SetRandomSeed(seed uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.random.Seed(seed, 0)
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
	count, ok := parseInt(args[2])
	withScores := len(args) == 4 && strings.EqualFold(args[3], "WITHSCORES")
	switch {
	case !ok:
		return errNotInt
	case count == math.MinInt64:
		return Error(fmt.Sprintf("ERR value is out of range, value must between %d and %d", -math.MaxInt64, math.MaxInt64))
	case len(args) > 3 && !withScores:
		return errSyntax
	case withScores && (count > math.MaxInt64/2 || count < -(math.MaxInt64/2)):
		return Error("ERR value is out of range")
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
	var positions []int
	size := len(z.members)
	switch {
	case size == 0:
	case count < 0:
		for range -count {
			positions = append(positions, r.IntN(size))
		}
	case count >= int64(size):
		for at := size - 1; at >= 0; at-- {
			positions = append(positions, at)
		}
	default:
		positions = sample(r, size, int(count))
		if !z.large {
			slices.Sort(positions)
		}
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
