package luatest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// SPOP and SRANDMEMBER choose evenly, and as the seed says.
func TestChoicesFromSets(t *testing.T) {
	six := []string{"SADD", "s", "1", "2", "3", "4", "5", "six"}
	choices := func(e *Engine, command ...string) map[string]int {
		drawn := map[string]int{}
		for range 3000 {
			e.Do("DEL", "s")
			e.Do(six...)
			drawn[fmt.Sprint(e.Do(command...))]++
		}
		return drawn
	}
	for _, test := range []struct {
		command []string
		replies int
	}{
		{[]string{"SPOP", "s"}, 6},
		{[]string{"SPOP", "s", "1"}, 6},
		{[]string{"SPOP", "s", "2"}, 30},
		{[]string{"SRANDMEMBER", "s"}, 6},
		{[]string{"SRANDMEMBER", "s", "1"}, 6},
		{[]string{"SRANDMEMBER", "s", "-2"}, 36},
	} {
		e := New()
		drawn := choices(e, test.command...)
		if len(drawn) != test.replies {
			t.Errorf("%v: %d replies came, want %d: %v", test.command, len(drawn), test.replies, drawn)
		}
		for reply, n := range drawn {
			if each := 3000 / test.replies; n < each/2 || n > each*2 {
				t.Errorf("%v: %s came %d times, want some %d", test.command, reply, n, each)
			}
		}
		e.SetRandomSeed(0)
		if diff := cmp.Diff(drawn, choices(e, test.command...)); diff != "" {
			t.Errorf("%v: the first seed brings other choices: (-first +again)\n%s", test.command, diff)
		}
	}
}

// A set of integers that lost another member is in no order, until it is popped
// down to few members: Redis 7.0 makes a new set of these.
func TestPoppedSetIsCompactAgain(t *testing.T) {
	e := New()
	e.Do("SADD", "s", "x", "20", "19", "18", "17", "16", "15", "14", "13", "12", "11", "10", "9", "8")
	e.Do("SREM", "s", "x")
	e.Do("SPOP", "s", "11")
	e.Do("SADD", "s", "30", "4", "1")
	members := e.Do("SMEMBERS", "s").([]any)
	if len(members) != 5 || members[0] != "1" || members[1] != "4" || members[4] != "30" {
		t.Errorf("the members are %v, want them in order", members)
	}
}
