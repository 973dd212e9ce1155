package main

import (
	"fmt"

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

const (
	reindexRepairs     = "wildkey reindex"
	foreignIndexRepair = "rename or delete it, then wildkey reindex"
	foreignRepair      = "look at it, and delete or rename it"
)

// A reshard leaves the namespace in two spreads until it has ended.
const strayRepair = "give --shards and --shard-segments as the clients have them; or, if these are right, " +
	"finish wildkey reshard, or look at it and delete it"

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
		detail := fmt.Sprintf("it is in %s, and its shard is %s", tag, layout.Tag(layout.Shard(key)))
		repair := fmt.Sprintf("put it anew, then UNLINK %s and wildkey sweep", name)
		if isLease(text) { // nobody looks for it here: it guards nothing
			repair = fmt.Sprintf("UNLINK %s and wildkey sweep", escaped(name)) // a shell may know what ! means
		}
		return breach{"wrong-shard", tag, text, detail, repair}, true
	}
	return breach{}, false
}

// entryBreach returns what is wrong with an index entry that has this score.
func entryBreach(layout wildkey.Layout, shard int, member string, score float64, stale bool) (breach, bool) {
	b := breach{Tag: layout.Tag(shard), Key: escaped(member)}
	b.Repair = fmt.Sprintf("ZREM %s %s", layout.Index(shard), b.Key)
	_, err := keyOf(member)
	if err == nil {
		b.Key = member // with the ! of a lease as it is
	}
	switch {
	case err != nil:
		b.Kind, b.Detail = "no-key", "it is in the index and no encoded key"
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
