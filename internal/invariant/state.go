package invariant

import (
	"fmt"
	"maps"
	"strconv"
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

// Snapshot is a script without KEYS that returns the whole keyspace at once, for
// ParseSnapshot. A server before Redis 7.0 tells when a key expires to within some
// milliseconds.
const Snapshot = `
local time = redis.call('TIME')
local now, keys = time[1] * 1000 + math.floor(time[2] / 1000), {}
local knows = redis.pcall('PEXPIRETIME', 'x') == -2
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, held = redis.call('TYPE', key).ok, {}
  local expires = redis.call(knows and 'PEXPIRETIME' or 'PTTL', key)
  if not knows and expires >= 0 then expires = expires + now end
  if kind == 'string' then held = { redis.call('GET', key) } end
  if kind == 'hash' then held = redis.call('HGETALL', key) end
  if kind == 'zset' then held = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  keys[#keys + 1] = { key, kind, string.format('%.0f', expires), held }
end
return { string.format('%.0f', now), keys }`

// ParseSnapshot reads the reply of Snapshot: a list of text and lists. It returns
// also the Unix milliseconds at which the snapshot was taken.
func ParseSnapshot(reply any) (s State, now int64, err error) {
	parts, ok := reply.([]any)
	if !ok {
		return nil, 0, fmt.Errorf("the snapshot is %v", reply)
	}
	s = State{}
	for _, one := range parts[1].([]any) {
		one := one.([]any)
		v, held := Value{Kind: one[1].(string), Expires: one[2].(string)}, one[3].([]any)
		switch v.Kind {
		case "zset":
			v.Scores = map[string]string{}
			for i := 0; i < len(held); i += 2 {
				v.Scores[held[i].(string)] = held[i+1].(string)
			}
		case "string":
			v.Text = held[0].(string)
		default:
			v.Text = fmt.Sprintf("%q", held)
		}
		s[one[0].(string)] = v
	}
	now, err = strconv.ParseInt(parts[0].(string), 10, 64)
	return s, now, err
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

// Breaches returns each breach of the data model, with the record, lease or index that it
// is of.
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
		if of, isLease := strings.CutPrefix(member, "!"); isLease && isOfNoKey(of) {
			found[key+" is a lease of no key"] = key
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

// Stale returns the index entries without a record or lease, each with that which it
// would be of.
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
