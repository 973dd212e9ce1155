package main

import (
	"fmt"
	"runtime"
	"strings"
)

// matches says how many of how many records a line of the growing namespace finds.
func (b *bench) matches(line string) string {
	result, _ := b.result(line)
	return fmt.Sprintf("%s matches among %s records", thousands(b.scale.users*b.scale.sessions), thousands(int(result.X)))
}

// measured is a number of the run, held against the bound of a goal.
type measured struct {
	label string
	value float64
	most  bool // the bound is the most that is allowed, else the least
	bound float64
}

// ratio of the medians of two contenders of a line, the first over the second.
func (b *bench) ratio(line, over, under string, m metric) (float64, bool) {
	result, ok := b.result(line)
	a, okA := result.row(over)
	c, okC := result.row(under)
	if !ok || !okA || !okC || c.summary(m).median == 0 {
		return 0, false
	}
	return a.summary(m).median / c.summary(m).median, true
}

// value is the median of one contender of a line.
func (b *bench) value(line, name string, m metric) (float64, bool) {
	result, _ := b.result(line)
	row, ok := result.row(name)
	return row.summary(m).median, ok
}

// sizeLine is the line of the namespace with this many items a user.
func (b *bench) sizeLine(kind string, step int) string {
	items := b.scale.items[step]
	return fmt.Sprintf("%s-%d", kind, b.scale.users*(b.scale.sessions+items))
}

// collect gathers the numbers of one goal; if one is missing, all are in vain.
type collect struct {
	list    []measured
	missing bool
}

func (c *collect) add(label string, value float64, ok bool, most bool, bound float64) {
	c.missing = c.missing || !ok
	c.list = append(c.list, measured{label, value, most, bound})
}

func (c *collect) atMost(label string, bound float64) func(float64, bool) {
	return func(value float64, ok bool) { c.add(label, value, ok, true, bound) }
}

func (c *collect) atLeast(label string, bound float64) func(float64, bool) {
	return func(value float64, ok bool) { c.add(label, value, ok, false, bound) }
}

// goal is what the project has set itself, and how the run comes out.
type goal struct {
	what, goal string
	of         func(c *collect)
}

// figures are the goals, held against the run. Those that it has not measured are
// left out.
func (b *bench) figures() string {
	steps := len(b.scale.items)
	million := b.sizeLine("size", max(0, steps-2))
	smallest, largest := b.sizeLine("user", 0), b.sizeLine("user", steps-1)
	goals := []goal{
		{"`user:*:session:*`, " + b.matches(million), "≥ 100 times faster than the reference tuned, ≥ 300 times than as written", func(c *collect) {
			c.atLeast("tuned", 100)(b.ratio(million, nameTuned, nameWildkey, wallMs))
			c.atLeast("as written", 300)(b.ratio(million, nameWritten, nameWildkey, wallMs))
		}},
		{"the same, every record matching", "≥ 4 times faster than as written; ≤ 1.5 times a raw MGET", func(c *collect) {
			c.atLeast("as written", 4)(b.ratio("dense", nameWritten, nameWildkey, wallMs))
			c.atMost("of MGET", 1.5)(b.ratio("dense", nameWildkey, nameMget, wallMs))
		}},
		{"`user:**`, every record matching, server CPU", "≤ 2.6 times a raw MGET; with DeclaredKeys ≤ 2.2", func(c *collect) {
			c.atMost("of MGET", 2.6)(b.ratio("dense", nameUnder, nameMget, cpuMs))
			c.atMost("with DeclaredKeys", 2.2)(b.ratio("dense", nameDeclared, nameMget, cpuMs))
		}},
		{"`List` of `user:*`, " + thousands(b.scale.users) + " users", "≥ 100 times faster than reading all keys; ≤ 12 µs of server CPU a user", func(c *collect) {
			list := b.sizeLine("list", max(0, steps-2))
			c.atLeast("wall", 100)(b.ratio(list, nameKeys, nameWildkey, wallMs))
			c.atMost("µs a user", 12)(b.value(list, nameWildkey, cpuUs))
		}},
		{"one user's sessions, the largest namespace against the smallest", "one round trip; cost ≤ 1.3 times", func(c *collect) {
			large, okLarge := b.value(largest, nameWildkey, wallUs)
			small, okSmall := b.value(smallest, nameWildkey, wallUs)
			c.add("wall", large/small, okLarge && okSmall, true, 1.3)
			large, okLarge = b.value(largest, nameWildkey, cpuUs)
			small, okSmall = b.value(smallest, nameWildkey, cpuUs)
			c.add("server CPU", large/small, okLarge && okSmall, true, 1.3)
			trips, ok := b.value(largest, nameWildkey, trips)
			c.add("round trips", trips/1_000, ok, true, 1)
		}},
		{"put of one record, server CPU", "≤ 0.85 of the reference", func(c *collect) {
			c.atMost("of the reference", 0.85)(b.ratio("put-1", nameWildkey, nameReference, cpuUs))
		}},
		{"put of ten records in one call, server CPU", "≤ 0.5 of the reference, ≤ 1.1 of SET + 2 ZADD", func(c *collect) {
			c.atMost("of the reference", 0.5)(b.ratio("put-10", nameWildkey, nameReference, cpuUs))
			c.atMost("of SET + 2 ZADD", 1.1)(b.ratio("put-10", nameWildkey, nameSetZadds, cpuUs))
		}},
		{"get", "≤ 1.05 of a raw GET, at most two more allocations", func(c *collect) {
			c.atMost("wall", 1.05)(b.ratio("get", nameWildkey, nameGet, wallUs))
			own, ok := b.value("get", nameWildkey, allocs)
			raw, okRaw := b.value("get", nameGet, allocs)
			c.add("more allocations", own-raw, ok && okRaw, true, 2.01) // of a process, not of a call
		}},
		{"index memory a record, MEMORY USAGE", "≤ 155 bytes; of the reference ≤ 0.33 at depth 4, ≤ 0.2 at depth 8", func(c *collect) {
			c.atMost("bytes", 155)(b.value("memory-4", nameWildkey, indexBytes))
			c.atMost("at depth 4", 0.33)(b.ratio("memory-4", nameWildkey, nameReference, indexBytes))
			c.atMost("at depth 8", 0.2)(b.ratio("memory-8", nameWildkey, nameReference, indexBytes))
		}},
		{"the longest call of a script", "≤ 5 ms", func(c *collect) {
			result, ok := b.result("calls")
			var longest float64
			for _, row := range result.Rows {
				longest = max(longest, row.summary(longestMs).median)
			}
			c.add("ms, median of rounds", longest, ok, true, 5)
		}},
		{"`DeleteMatch` of a tenth of the records", "≥ 2.5 times faster than SCAN MATCH + UNLINK; no call above 5 ms", func(c *collect) {
			c.atLeast("wall", 2.5)(b.ratio("delete", nameUnlink, nameWildkey, wallMs))
			c.atLeast("server CPU", 2.5)(b.ratio("delete", nameUnlink, nameWildkey, cpuMs))
			c.atMost("ms, longest call", 5)(b.value("delete", nameWildkey, longestMs))
		}},
		{"a lock taken and released in turn, at any size of the index", "≤ 2 of what it is at its cheapest", func(c *collect) {
			result, ok := b.result("lock")
			if ok {
				c.atMost("server CPU", 2)(b.ratio("lock", result.Rows[1].Name, result.Rows[0].Name, cpuUs))
			}
			c.missing = !ok
		}},
		{"a record that has expired, asked for by many at once, of several processes", "one load", func(c *collect) {
			c.atMost("loads", 1)(b.value("fetch-crowd", nameFetch, loadsDone))
		}},
		{"a hit of a Fetcher", "what the Cache's Get costs; with RefreshAhead ≤ 1.01 round trips", func(c *collect) {
			c.atMost("wall", 1.05)(b.ratio("fetch-hit", nameFetch, nameWildkey, wallUs))
			c.atMost("allocations", 1.01)(b.ratio("fetch-hit", nameFetch, nameWildkey, allocs))
			c.atMost("round trips", 1)(b.value("fetch-hit", nameFetch, tripsEach))
			// Chance draws the hits that make a second one.
			c.atMost("with RefreshAhead", 1.0149)(b.value("fetch-hit", nameAhead, tripsEach))
		}},
		{"put and delete through a Fetcher", "one round trip a call, as the Cache's", func(c *collect) {
			for _, call := range []string{"put-1", "put-1-over", "put-10-over", "delete-1", "delete-10"} {
				c.atMost(call, 1)(b.ratio("fetch-"+call, nameFetch, nameWildkey, trips))
			}
		}},
		{"a miss of a Fetcher", "three round trips", func(c *collect) {
			c.atMost("round trips", 3)(b.value("fetch-miss", nameFetch, tripsEach))
		}},
		{"puts after everything has expired", "≤ 5% of entries stale, ≤ 30% with as many live ones beside", func(c *collect) {
			for _, ascending := range []bool{false, true} {
				for _, beside := range []bool{false, true} {
					name := nightName(beside, ascending)
					c.atMost(name, map[bool]float64{false: 5, true: 30}[beside])(b.value("night", name, stalePercent))
				}
			}
		}},
	}
	for _, policy := range policies {
		line := "full-" + policy
		goals = append(goals, goal{"full memory, " + policy, "no error; ≤ 25% of entries stale; live records ≥ 0.74 of SET's", func(c *collect) {
			for _, name := range []string{nameWildkey, nameAscending} {
				result, _ := b.result(line)
				row, ok := result.row(name)
				c.add(name+": errors", float64(min(1, len(row.Failed))), ok, true, 0)
				c.atMost("stale, %", 25)(b.value(line, name, stalePercent))
				c.atLeast("of SET's", 0.74)(b.ratio(line, name, nameSet, liveRecs))
			}
		}})
	}
	goals = append(goals, b.goalsOfBefore()...)
	var text strings.Builder
	for _, goal := range goals {
		var c collect
		if goal.of(&c); c.missing {
			continue
		}
		var numbers []string
		reached := "yes"
		for _, m := range c.list {
			numbers = append(numbers, m.label+" "+number(m.value))
			if m.most && m.value > m.bound || !m.most && m.value < m.bound {
				reached = "**no**"
			}
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", goal.what, goal.goal, strings.Join(numbers, ", "), reached)
	}
	if text.Len() == 0 {
		return ""
	}
	return "| what | goal | measured | reached |\n|---|---|---|---|\n" + text.String()
}

// goalsOfBefore are those that are held against the scripts of -before, by server
// CPU.
func (b *bench) goalsOfBefore() []goal {
	held := map[string]bool{}
	ofBefore := func(c *collect, label, line string, bound float64) {
		held[line] = true
		c.atMost(label, bound)(b.ratio(line, nameWildkey, nameBefore, cpuUs))
	}
	return []goal{
		{"put of one record, of before", "new ≤ 1; over an old one ≤ 0.75", func(c *collect) {
			ofBefore(c, "new", "put-1", 1)
			ofBefore(c, "over an old one", "put-1-over", 0.75)
		}},
		{"put of ten records in one call, of before", "over old ones ≤ 0.75", func(c *collect) {
			ofBefore(c, "over old ones", "put-10-over", 0.75)
		}},
		{"put of 250 records in one call, of before", "new ≤ 1.15", func(c *collect) { ofBefore(c, "new", "put-250", 1.15) }},
		{"touch and delete of 250 records in one call, of before", "≤ 0.6; ≤ 0.85", func(c *collect) {
			ofBefore(c, "touch", "touch-250", 0.6)
			ofBefore(c, "delete", "delete-250", 0.85)
		}},
		{"keys and count, of before", "≤ 2.2", func(c *collect) {
			ofBefore(c, "keys", "keys", 2.2)
			ofBefore(c, "count", "count", 2.2)
		}},
		{"every other line, of before", "≤ 1.1", func(c *collect) {
			dearest, most := "", 0.0
			for _, result := range b.results {
				ratio, ok := b.ratio(result.Line, nameWildkey, nameBefore, cpuUs)
				if ok && !held[result.Line] && ratio > most {
					dearest, most = result.Line, ratio
				}
			}
			c.add("the dearest, "+dearest, most, most > 0, true, 1.1)
		}},
	}
}

// machine says what the run was on, as far as numbers depend on it.
func (b *bench) machine() string {
	return fmt.Sprintf("%s on %d cores (%s/%s), %s.", runtime.Version(), cores(), runtime.GOOS, runtime.GOARCH, b.program)
}

func cores() int { return runtime.NumCPU() }
