package luatest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// withMembers returns an engine whose keys z and h have the members, and the
// fields, 0 to n-1. They are not its only keys.
func withMembers(n int) *Engine {
	e := New()
	for i := range n {
		e.Do("ZADD", "z", "0", strconv.Itoa(i))
		e.Do("HSET", "h", strconv.Itoa(i), "v")
		e.Do("SET", "key:"+strconv.Itoa(i), "v")
	}
	return e
}

func TestRandomMembersFollowTheSeed(t *testing.T) {
	choices := func(e *Engine) []any {
		var all []any
		for range 20 {
			all = append(all, e.Do("ZRANDMEMBER", "z"), e.Do("ZRANDMEMBER", "z", "5"), e.Do("ZRANDMEMBER", "z", "-5"))
			all = append(all, e.Do("HRANDFIELD", "h"), e.Do("HRANDFIELD", "h", "5"), e.Do("RANDOMKEY"))
		}
		return all
	}
	e := withMembers(300)
	first := choices(e)
	if cmp.Equal(first, choices(e)) {
		t.Error("the same members are chosen again and again")
	}
	if diff := cmp.Diff(first, choices(withMembers(300))); diff != "" {
		t.Errorf("a second new engine chooses others: (-first +second)\n%s", diff)
	}
	if diff := cmp.Diff(choices(e.Clone()), choices(e)); diff != "" {
		t.Errorf("a clone chooses others: (-clone +original)\n%s", diff)
	}
	e.SetRandomSeed(7)
	if cmp.Equal(first, choices(e)) {
		t.Error("another seed chooses the same members")
	}
	e.SetRandomSeed(0)
	if diff := cmp.Diff(first, choices(e)); diff != "" {
		t.Errorf("the first seed does not bring the first choices back: (-first +again)\n%s", diff)
	}
}

// Each subset of a set comes about as often as any other, whatever its size.
func TestRandomMembersAreEven(t *testing.T) {
	e := withMembers(6)
	for count, subsets := range map[string]int{"1": 6, "2": 15, "3": 20, "4": 15, "5": 6, "-1": 6, "-2": 36} {
		for _, command := range [][]string{{"ZRANDMEMBER", "z", count}, {"HRANDFIELD", "h", count}} {
			const each = 500
			drawn := map[string]int{}
			for range each * subsets {
				drawn[fmt.Sprint(e.Do(command...))]++
			}
			if len(drawn) != subsets {
				t.Errorf("%q of 6: %d subsets came, want %d: %v", command, len(drawn), subsets, drawn)
			}
			for subset, n := range drawn {
				if n < each*3/4 || n > each*5/4 { // more than five standard deviations off
					t.Errorf("%q of 6: %s came %d times, want some %d", command, subset, n, each)
				}
			}
		}
	}
}
