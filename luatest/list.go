package luatest

import "slices"

// list is a list with free slots before its first element, so that it grows at
// both ends without moving all that it holds.
type list struct {
	slots []string
	free  int
}

// end is one of the two ends of a list.
type end int

const (
	left end = iota
	right
)

func (l *list) elements() []string { return l.slots[l.free:] }

func (l *list) len() int { return len(l.slots) - l.free }

func (l *list) push(to end, element string) {
	if to == right {
		l.slots = append(l.slots, element)
		return
	}
	if l.free == 0 {
		l.free = len(l.slots) + 1
		l.slots = slices.Concat(make([]string, l.free), l.slots)
	}
	l.free--
	l.slots[l.free] = element
}

// pop removes so many elements and returns them, the one at the end first.
func (l *list) pop(from end, count int) []string {
	if from == left {
		popped := slices.Clone(l.elements()[:count])
		l.keep(count, l.len())
		return popped
	}
	popped := slices.Clone(l.elements()[l.len()-count:])
	slices.Reverse(popped)
	l.keep(0, l.len()-count)
	return popped
}

// keep removes all elements but those of a half-open range.
func (l *list) keep(from, to int) {
	clear(l.slots[l.free+to:])
	l.slots = l.slots[:l.free+to]
	clear(l.slots[l.free : l.free+from])
	l.free += from
	// A queue, which grows at one end only, must not grow with what has left it.
	if l.free > 2*l.len() {
		*l = *l.clone()
	}
}

func (l *list) clone() *list { return &list{slots: slices.Clone(l.elements())} }

// position turns an index, a negative one counted from the end, into a position.
func (l *list) position(index int64) (int, bool) {
	if index < 0 {
		index += int64(l.len())
	}
	return int(index), 0 <= index && index < int64(l.len())
}

// find returns the positions of an element, from its rank-th occurrence on; with
// a negative rank from the end. It looks at no more elements than longest says,
// for no more than count of them; 0 is no limit. The least rank of all overflows
// as in Redis, which then finds all of them.
func (l *list) find(element string, rank, count, longest int64) []any {
	found, elements := []any{}, l.elements()
	reverse, matches := rank < 0, int64(0)
	if reverse {
		rank = -rank
	}
	for i := range elements {
		if longest > 0 && int64(i) >= longest {
			break
		}
		at := i
		if reverse {
			at = len(elements) - 1 - i
		}
		if elements[at] != element {
			continue
		}
		if matches++; matches < rank {
			continue
		}
		found = append(found, int64(at))
		if count > 0 && matches-rank+1 >= count {
			break
		}
	}
	return found
}
