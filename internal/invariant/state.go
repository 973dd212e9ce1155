package invariant

import (
	"maps"
	"strings"
)

// State is a whole keyspace: values by key.
type State map[string]Value

// Value is the value of one key.
type Value struct {
	Kind    string            // as TYPE has it
	Text    string            // of a string, or of a hash in some form
	Scores  map[string]string // of a sorted set
	Expires string            // Unix milliseconds, "-1" for never
}

// Keys returns the keys of several states.
func Keys(states ...State) map[string]bool {
	keys := map[string]bool{}
	for _, s := range states {
		for key := range s {
			keys[key] = true
		}
	}
	return keys
}

// Breaches returns each breach of the data model, with the record or index that it is of.
func (s State) Breaches() map[string]string {
	found := map[string]string{}
	for key := range s {
		tag, member, isRecord := strings.Cut(key, "}:")
		if !isRecord {
			continue
		}
		if _, indexed := s[tag+"}/keys"].Scores[member]; !indexed {
			found["no entry of "+key] = key
		}
	}
	for index, v := range s {
		for member, score := range v.Scores {
			if score != "0" {
				found[index+" has the score "+score+" of "+member] = index
			}
		}
	}
	return found
}

// Stale returns the index entries without a record, each with the record that
// it would be of.
func (s State) Stale() map[string]string {
	found := map[string]string{}
	for index, v := range s {
		tag, _, _ := strings.Cut(index, "}/")
		for member := range v.Scores {
			key := tag + "}:" + member
			if _, live := s[key]; !live {
				found[index+" "+member] = key
			}
		}
	}
	return found
}

// WithoutStale returns the state but for stale index entries.
func (s State) WithoutStale() State {
	live := maps.Clone(s)
	for index, v := range s {
		if v.Scores == nil {
			continue
		}
		tag, _, _ := strings.Cut(index, "}/")
		v.Scores = maps.Clone(v.Scores)
		maps.DeleteFunc(v.Scores, func(member, _ string) bool { _, isLive := s[tag+"}:"+member]; return !isLive })
		live[index] = v
		if len(v.Scores) == 0 {
			delete(live, index)
		}
	}
	return live
}
