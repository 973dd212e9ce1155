package luatest

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// set is a set. As long as it is compact its members are integers in ascending
// order, as Redis returns them; later they are in the order in which they came,
// which Redis leaves open.
type set struct {
	members []string
	index   *dict[struct{}]
	// large is set for good once the set has outgrown the compact encoding,
	// which SSCAN returns whole.
	large bool
}

// compactIntegers is Redis's default for set-max-intset-entries.
const compactIntegers = 512

func newSet() *set { return &set{index: newDict[struct{}]()} }

func (s *set) has(member string) bool {
	_, exists := s.index.get(member)
	return exists
}

// add reports whether the member is new.
func (s *set) add(member string) bool {
	if s.has(member) {
		return false
	}
	at := len(s.members)
	switch number, isInteger := parseInt(member); {
	case !isInteger:
		s.large = true
	case !s.large:
		at, _ = slices.BinarySearchFunc(s.members, number, func(other string, number int64) int {
			value, _ := parseInt(other)
			return cmp.Compare(value, number)
		})
	}
	s.members = slices.Insert(s.members, at, member)
	s.index.set(member, struct{}{})
	s.large = s.large || len(s.members) > compactIntegers
	return true
}

// delete reports whether there was such a member.
func (s *set) delete(member string) bool {
	if !s.has(member) {
		return false
	}
	s.index.delete(member)
	at := slices.Index(s.members, member)
	s.members = slices.Delete(s.members, at, at+1)
	return true
}

// pop removes a member that it chooses.
func (s *set) pop(r *rand.Rand) string {
	member := s.members[r.IntN(len(s.members))]
	s.delete(member)
	return member
}

func (s *set) clone() *set {
	return &set{
		members: slices.Clone(s.members),
		index:   s.index.clone(func(v struct{}) struct{} { return v }),
		large:   s.large,
	}
}

// intersection returns the members that are in all sets; nil is an empty set.
func intersection(sets []*set) *set {
	result := newSet()
	if slices.Contains(sets, nil) {
		return result
	}
	least := slices.MinFunc(sets, func(a, b *set) int { return cmp.Compare(len(a.members), len(b.members)) })
	for _, member := range least.members {
		if !slices.ContainsFunc(sets, func(s *set) bool { return !s.has(member) }) {
			result.add(member)
		}
	}
	return result
}

// union returns the members that are in any set; nil is an empty set.
func union(sets []*set) *set {
	result := newSet()
	for _, s := range sets {
		if s == nil {
			continue
		}
		for _, member := range s.members {
			result.add(member)
		}
	}
	return result
}

// difference returns the members of the first set that are in no other; nil is
// an empty set. It has Redis's two ways, and Redis's choice of one: the second
// way leaves a set large if one of the members that it takes away made it so.
func difference(sets []*set) *set {
	first := sets[0]
	if first == nil || slices.Contains(sets[1:], first) {
		return newSet()
	}
	present := slices.DeleteFunc(slices.Clone(sets), func(s *set) bool { return s == nil })
	others, all := present[1:], 0
	for _, s := range present {
		all += len(s.members)
	}
	if len(first.members)*len(present)/2 <= all {
		result := newSet()
		for _, member := range first.members {
			if !slices.ContainsFunc(others, func(s *set) bool { return s.has(member) }) {
				result.add(member)
			}
		}
		return result
	}
	result := union(sets[:1])
	for _, s := range others {
		for _, member := range s.members {
			result.delete(member)
		}
	}
	return result
}
