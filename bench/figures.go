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

// figures are the goals that the project has set itself, held against the run.
func (b *bench) figures() string {
	steps := len(b.scale.items)
	million := b.sizeLine("size", max(0, steps-2))
	smallest, largest := b.sizeLine("user", 0), b.sizeLine("user", steps-1)
	goals := []struct {
		what, goal string
		of         func(c *collect)
	}{
		{"`user:*:session:*`, " + b.matches(million), "≥ 100 times faster than the reference tuned, ≥ 300 times than as written", func(c *collect) {
			c.atLeast("tuned", 100)(b.ratio(million, nameTuned, nameWildkey, wallMs))
			c.atLeast("as written", 300)(b.ratio(million, nameWritten, nameWildkey, wallMs))
		}},
		{"the same, every record matching", "≥ 4 times faster than as written; ≤ 1.5 times a raw MGET", func(c *collect) {
			c.atLeast("as written", 4)(b.ratio("allmatch", nameWritten, nameWildkey, wallMs))
			c.atMost("of MGET", 1.5)(b.ratio("allmatch", nameWildkey, nameMget, wallMs))
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
		{"put of one record, server CPU", "≤ 0.85 of the reference, ≤ 1.6 of SET + 2 ZADD", func(c *collect) {
			c.atMost("of the reference", 0.85)(b.ratio("put-1", nameWildkey, nameReference, cpuUs))
			c.atMost("of SET + 2 ZADD", 1.6)(b.ratio("put-1", nameWildkey, nameSetZadd, cpuUs))
		}},
		{"put of ten records in one call, server CPU", "≤ 0.5 of the reference, ≤ 1.1 of SET + 2 ZADD", func(c *collect) {
			c.atMost("of the reference", 0.5)(b.ratio("put-10", nameWildkey, nameReference, cpuUs))
			c.atMost("of SET + 2 ZADD", 1.1)(b.ratio("put-10", nameWildkey, nameSetZadd, cpuUs))
		}},
		{"get", "≤ 1.05 of a raw GET, at most two more allocations", func(c *collect) {
			c.atMost("wall", 1.05)(b.ratio("get", nameWildkey, nameGet, wallUs))
			own, ok := b.value("get", nameWildkey, allocs)
			raw, okRaw := b.value("get", nameGet, allocs)
			c.add("more allocations", own-raw, ok && okRaw, true, 2.01) // of a process, not of a call
		}},
		{"index memory a record, depths 4 and 8", "≤ 300 bytes, ≤ 0.65 of the reference", func(c *collect) {
			for _, depth := range []int{4, 8} {
				line := fmt.Sprintf("memory-%d", depth)
				c.atMost(fmt.Sprintf("bytes at depth %d", depth), 300)(b.value(line, nameWildkey, memoryBytes))
				c.atMost("of the reference", 0.65)(b.ratio(line, nameWildkey, nameReference, memoryBytes))
			}
		}},
		{"the longest call of a script", "≤ 5 ms", func(c *collect) {
			result, ok := b.result("calls")
			var longest float64
			for _, row := range result.Rows {
				longest = max(longest, row.summary(longestMs).median)
			}
			c.add("ms, median of rounds", longest, ok, true, 5)
		}},
		{"`DeleteMatch` of a tenth of the records", "≥ 5 times faster than SCAN MATCH + UNLINK; no call above 5 ms", func(c *collect) {
			c.atLeast("SCAN + UNLINK", 5)(b.ratio("delete", nameUnlink, nameWildkey, wallMs))
			c.atMost("ms, longest call", 5)(b.value("delete", nameWildkey, longestMs))
		}},
	}
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

// machine says what the run was on, as far as numbers depend on it.
func (b *bench) machine() string {
	return fmt.Sprintf("%s on %d cores (%s/%s), %s.", runtime.Version(), cores(), runtime.GOOS, runtime.GOARCH, b.program)
}

func cores() int { return runtime.NumCPU() }
