package luatest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

// streamID is the place of an entry in a stream.
type streamID struct{ ms, seq uint64 }

var maxStreamID = streamID{math.MaxUint64, math.MaxUint64}

func (id streamID) String() string { return fmt.Sprintf("%d-%d", id.ms, id.seq) }

func (id streamID) compare(o streamID) int {
	return cmp.Or(cmp.Compare(id.ms, o.ms), cmp.Compare(id.seq, o.seq))
}

// next is the least ID above id, the least of all after the greatest.
func (id streamID) next() streamID {
	if id.seq++; id.seq == 0 {
		id.ms++
	}
	return id
}

// previous is the greatest ID below id, the greatest of all before the least.
func (id streamID) previous() streamID {
	if id.seq == 0 {
		id.ms--
	}
	id.seq--
	return id
}

// streamEntry is one entry: its fields, each with its value after it.
type streamEntry struct {
	id    streamID
	pairs []string
}

// stream is a stream in the nodes in which Redis keeps it, of which only whole
// ones are removed by a trim with ~.
type stream struct {
	nodes  []*streamNode
	length int
	last   streamID // of the last entry, be it deleted, or what XSETID said
}

// streamNode is a run of entries. What is deleted takes up room until the last
// entry of the node goes.
type streamNode struct {
	entries []streamEntry // those that are not deleted
	added   int           // how many there were
	last    streamID      // of these
	first   streamEntry   // of these; entries with the same fields do not repeat them
	bytes   int
}

// Redis's defaults for stream-node-max-entries and stream-node-max-bytes.
const (
	nodeEntries = 100
	nodeBytes   = 4096
)

// add appends an entry whose ID is above the last one.
func (s *stream) add(e streamEntry) {
	size := 0
	for _, text := range e.pairs {
		size += len(text)
	}
	var tail *streamNode
	if len(s.nodes) > 0 {
		tail = s.nodes[len(s.nodes)-1]
	}
	if tail == nil || tail.bytes+size >= nodeBytes || tail.added >= nodeEntries {
		tail = newStreamNode(e)
		s.nodes = append(s.nodes, tail)
	}
	tail.entries = append(tail.entries, e)
	tail.added++
	tail.bytes += tail.sizeOf(e)
	tail.last, s.last = e.id, e.id
	s.length++
}

// newStreamNode returns a node without entries. As many bytes as a listpack has
// at least are followed by three counts, the fields of the first entry and an end.
func newStreamNode(first streamEntry) *streamNode {
	n := &streamNode{first: first, bytes: 7 + 3*integerSize(0) + integerSize(int64(len(first.pairs)/2))}
	for i := 0; i < len(first.pairs); i += 2 {
		n.bytes += textSize(first.pairs[i])
	}
	return n
}

// sizeOf is how many bytes Redis needs for an entry of the node: for flags, for
// the distance to the first entry, for the fields unless they are those of the
// first entry, for the values, and for the number of all these.
func (n *streamNode) sizeOf(e streamEntry) int {
	same := len(e.pairs) == len(n.first.pairs)
	for i := 0; same && i < len(e.pairs); i += 2 {
		same = e.pairs[i] == n.first.pairs[i]
	}
	size, parts := 0, 3
	for i, text := range e.pairs {
		if isValue := i%2 == 1; isValue || !same {
			size += textSize(text)
			parts++
		}
	}
	if !same {
		size += integerSize(int64(len(e.pairs) / 2))
		parts++
	}
	id := n.first.id
	return size + integerSize(0) + integerSize(int64(e.id.ms-id.ms)) + integerSize(int64(e.id.seq-id.seq)) +
		integerSize(int64(parts))
}

// integerSize is how many bytes an integer takes in a listpack.
func integerSize(n int64) int {
	for _, encoding := range []struct {
		least, greatest int64
		size            int
	}{
		{0, 1<<7 - 1, 2}, {-1 << 12, 1<<12 - 1, 3}, {math.MinInt16, math.MaxInt16, 4}, {-1 << 23, 1<<23 - 1, 5},
		{math.MinInt32, math.MaxInt32, 6},
	} {
		if encoding.least <= n && n <= encoding.greatest {
			return encoding.size
		}
	}
	return 10
}

// textSize is how many bytes a text takes in a listpack: it stands between its
// length and the length of both. Of one that fills a node, it is too few.
func textSize(text string) int {
	if n, ok := parseInt(text); ok {
		return integerSize(n)
	}
	size := len(text) + 1
	if len(text) >= 1<<6 {
		size++
	}
	if size >= 1<<7 {
		size++
	}
	return size + 1
}

// between returns the entries from the one ID to the other, both included, in
// order or in reverse: the first count of them, or all with 0.
func (s *stream) between(from, to streamID, reverse bool, count int64) []streamEntry {
	var found []streamEntry
	for i := range s.nodes {
		n := s.nodes[i]
		if reverse {
			n = s.nodes[len(s.nodes)-1-i]
		}
		low := sort.Search(len(n.entries), func(i int) bool { return n.entries[i].id.compare(from) >= 0 })
		high := sort.Search(len(n.entries), func(i int) bool { return n.entries[i].id.compare(to) > 0 })
		at := len(found)
		found = append(found, n.entries[low:max(low, high)]...)
		if reverse {
			slices.Reverse(found[at:])
		}
		if count > 0 && int64(len(found)) >= count {
			return found[:count]
		}
	}
	return found
}

// top is the ID of the last entry that is not deleted.
func (s *stream) top() streamID {
	return s.between(streamID{}, maxStreamID, true, 1)[0].id
}

// delete reports whether there was an entry with this ID.
func (s *stream) delete(id streamID) bool {
	for i, n := range s.nodes {
		at, exists := slices.BinarySearchFunc(n.entries, id, func(e streamEntry, id streamID) int { return e.id.compare(id) })
		if !exists {
			continue
		}
		n.entries = slices.Delete(n.entries, at, at+1)
		if len(n.entries) == 0 {
			s.nodes = slices.Delete(s.nodes, i, i+1)
		}
		s.length--
		return true
	}
	return false
}

// trim is what MAXLEN or MINID, with ~ and LIMIT, asks for.
type trim struct {
	by     string // MAXLEN, MINID or "" for no trim at all
	length int64
	least  streamID
	whole  bool  // whether to remove whole nodes only
	limit  int64 // of the entries to remove, 0 for none
}

// trim removes entries from the beginning and returns how many.
func (s *stream) trim(t trim) int64 {
	var removed int64
	for t.by != "" && len(s.nodes) > 0 {
		n := s.nodes[0]
		size := int64(len(n.entries))
		surplus := int64(s.length) - t.length
		if t.by == "MAXLEN" && surplus <= 0 || t.limit > 0 && removed+size > t.limit {
			break
		}
		if t.by == "MAXLEN" && surplus >= size || t.by == "MINID" && n.last.compare(t.least) < 0 {
			s.nodes = s.nodes[1:]
			s.length -= int(size)
			removed += size
			continue
		}
		if !t.whole {
			if t.by == "MINID" {
				surplus = int64(sort.Search(int(size), func(i int) bool { return n.entries[i].id.compare(t.least) >= 0 }))
			}
			n.entries = n.entries[surplus:]
			s.length -= int(surplus)
			removed += surplus
		}
		break
	}
	return removed
}

func (s *stream) clone() *stream {
	c := &stream{nodes: make([]*streamNode, len(s.nodes)), length: s.length, last: s.last}
	for i, n := range s.nodes {
		node := *n
		node.entries = slices.Clone(n.entries)
		c.nodes[i] = &node
	}
	return c
}
