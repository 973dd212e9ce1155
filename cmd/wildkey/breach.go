package main

import (
	"fmt"
	"strings"

	"github.com/wildkey/wildkey"
)

// breach is a place where a namespace is not as Wildkey keeps it.
type breach struct {
	Kind   string `json:"breach"`
	Tag    string `json:"tag"`
	Key    string `json:"key"` // escaped, where it is not encoded; of a lease, with a ! before it
	Detail string `json:"detail"`
	Repair string `json:"repair"`
}

// Repairs are pasted into a shell. One that begins with wildkey or redis-cli does what it says. All others are for
// people, begin with no command, and do nothing there.
const (
	reindexRepairs     = "wildkey reindex"
	sweepRepairs       = "wildkey sweep"
	foreignIndexRepair = "delete or rename it, then wildkey reindex"
	foreignRepair      = "delete or rename it, if nobody needs it"
)

// A reshard leaves the namespace in two spreads until it has ended.
const strayRepair = "set --shards and --shard-segments to the numbers of the clients, or finish wildkey reshard: " +
	"see docs/rolling-upgrades.md"

// recordBreach returns what is wrong with what a Redis key of this shard holds, if
// its name alone tells. The text is what follows the prefix of the shard's records.
func recordBreach(layout wildkey.Layout, shard int, text string) (breach, bool) {
	name, tag := layout.Prefix(shard)+text, layout.Tag(shard)
	key, err := keyOf(text)
	switch {
	case err != nil:
		detail := fmt.Sprintf("%s has no encoded key in its name", escaped(name))
		return breach{"foreign", tag, escaped(text), detail, foreignRepair}, true
	case layout.Shard(key) != shard:
		detail := fmt.Sprintf("it is in %s, but its shard is %s", tag, layout.Tag(layout.Shard(key)))
		repair := fmt.Sprintf("redis-cli -c UNLINK '%s' && wildkey sweep", name)
		if !isLease(text) { // nobody looks for a lease here: it guards nothing
			repair = "put it again, then " + repair
		}
		return breach{"wrong-shard", tag, text, detail, repair}, true
	}
	return breach{}, false
}

// entryBreach returns what is wrong with an index entry that has this score.
func entryBreach(layout wildkey.Layout, shard int, member string, score float64, stale bool) (breach, bool) {
	b := breach{Tag: layout.Tag(shard), Key: escaped(member), Repair: sweepRepairs}
	_, err := keyOf(member)
	if err == nil {
		b.Key = member // with the ! of a lease as it is
	}
	switch {
	case err != nil:
		b.Kind, b.Detail = "no-key", "it is in the index, but is not an encoded key"
		if !stale || member >= "\xff" { // there the walk of sweep ends
			b.Repair = dropRepair(layout.Index(shard), member)
		}
	case score != 0:
		b.Kind, b.Detail = "score", fmt.Sprintf("its score in the index is %v, not 0", score)
		if !stale {
			b.Repair = reindexRepairs
		}
	default:
		return b, false
	}
	return b, true
}

// dropRepair drops a member from an index. In single quotes every shell leaves the
// escapes to Lua, which has one for a byte.
func dropRepair(index, member string) string {
	var b strings.Builder
	for _, c := range []byte(member) {
		fmt.Fprintf(&b, `\%03d`, c)
	}
	return fmt.Sprintf(`redis-cli -c EVAL 'return redis.call("ZREM", KEYS[1], "%s")' 1 '%s'`, b.String(), index)
}
