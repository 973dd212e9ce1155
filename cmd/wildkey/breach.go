package main

import (
	"fmt"

	"github.com/wildkey/wildkey"
)

// breach is a place where a namespace is not as Wildkey keeps it.
type breach struct {
	Kind   string `json:"breach"`
	Tag    string `json:"tag"`
	Key    string `json:"key"` // quoted, where it is none
	Detail string `json:"detail"`
	Repair string `json:"repair"`
}

const (
	reindexRepairs     = "wildkey reindex"
	foreignIndexRepair = "rename or delete it, then wildkey reindex"
)

// A reshard leaves the namespace in two spreads until it has ended.
const strayRepair = "give --shards as the clients have it; or, if that is right, finish wildkey reshard, " +
	"or look at it and delete it"

// stray returns what is wrong with a record or an index of another shard than these.
func (s shards) stray(tag, name string) breach {
	return breach{"wrong-shard", tag, plain(name), fmt.Sprintf("it is in %s, outside of %s", plain(tag), s), strayRepair}
}

// judge returns what is wrong with a record and its index entries.
func (s shards) judge(st state) (breaches []breach) {
	found := func(kind, repair, detail string, args ...any) {
		breaches = append(breaches, breach{kind, st.tag, plain(st.encoded), fmt.Sprintf(detail, args...), repair})
	}
	const lookAtIt = "look at it, and delete or rename it"
	remove := func(index string) string { return "ZREM " + index + " " + forRedisCLI(st.encoded) }
	key, err := wildkey.ParseKey(st.encoded)
	if err != nil {
		if st.live {
			found("foreign", lookAtIt, "%s has no encoded key in its name", plain(st.name()))
		}
		if st.inOrder {
			found("no-key", remove(order(st.tag)), "it is in the order index and no encoded key")
		}
		if st.inExpiry {
			found("no-key", remove(expiry(st.tag)), "it is in the expiry index and no encoded key")
		}
		return breaches
	}
	if st.live && st.kind != "string" {
		found("foreign", lookAtIt, "%s is a %s", st.name(), st.kind)
		return breaches
	}
	if st.inOrder && st.orderScore != 0 {
		repair := reindexRepairs
		if !st.live {
			repair = remove(order(st.tag))
		}
		found("order-score", repair, "its score in the order index is %v, not 0", st.orderScore)
	}
	if !st.live {
		return breaches
	}
	if right := s.of(key); right != st.tag {
		found("wrong-shard", fmt.Sprintf("wildkey reshard into another namespace, or UNLINK %s and wildkey sweep", st.name()),
			"it is in %s, and its shard is %s", st.tag, right)
	}
	if !st.inOrder && !st.noOrder {
		found("unlisted", reindexRepairs, "it is not in the order index")
	}
	switch {
	case st.noExpiry: // which is a breach of its own
	case st.expires == 0 && st.inExpiry:
		found("needless-expiry", reindexRepairs, "it never expires, and the expiry index has %.0f", st.expiresByScore)
	case st.expires != 0 && !st.inExpiry:
		found("no-expiry-entry", reindexRepairs, "it expires at %d, and is not in the expiry index", st.expires)
	case st.expiresByScore < float64(st.expires) || st.expiresByScore > float64(st.expires+st.blur):
		found("wrong-expiry", reindexRepairs, "it expires at %d, and the expiry index has %.0f",
			st.expires, st.expiresByScore)
	}
	return breaches
}
