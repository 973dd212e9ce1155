package main

import (
	"context"
	"fmt"
)

// staleShare is the share of stale entries that puts of new records keep a
// namespace below, in the worst of cases.
const staleShare = 0.3

// examineIndexes judges the indexes of the namespace by a sample. Evicting is the policy
// by which its servers evict records that have a TTL, or empty.
func (s *session) examineIndexes(ctx context.Context, evicting string, all *findings) {
	var shards []int
	for shard := range s.layout.Shards() {
		index := s.layout.Index(shard)
		kind, err := s.client.Type(ctx, index).Result()
		if err != nil {
			all.cannot("indexes", err, "")
			return
		}
		if kind != "zset" && kind != "none" {
			all.add("indexes", problem, foreignIndexRepair, "%s is not an index but a %s", index, kind)
			return
		}
		shards = append(shards, shard)
	}
	sample, err := s.sample(ctx, s.layout, shards)
	if err != nil {
		all.cannot("indexes", err, "")
		return
	}
	if sample.entries == 0 {
		all.add("indexes", worth, "if there should be records: look at the namespace, then wildkey reindex",
			"%s: no entry in the index", spread(s.layout))
		return
	}
	entries := counted(sample.entries, "entry", "entries")
	if sample.leases > 0 && sample.taken < sample.entries {
		entries += fmt.Sprintf(", ~%s leases among them", number(sample.leases))
	} else if sample.leases > 0 {
		entries += fmt.Sprintf(", %s among them", counted(sample.leases, "lease", "leases"))
	}
	all.add("indexes", fine, "", "%s; wildkey check looks at each", entries)
	text := fmt.Sprintf("%s stale, of %s looked up",
		percent(sample.staleShare()), counted(sample.taken, "index entry", "index entries"))
	if sample.staleShare() > staleShare {
		all.add("stale", worth, "wildkey sweep; only puts that make the index grow remove such entries, and this namespace gets few", "%s", text)
	} else {
		all.add("stale", fine, "", "%s", text)
	}
	if evicting != "" && sample.lasting > sample.records()/2 {
		all.add("eviction", worth, "put records with a TTL, or have maxmemory leave room for those without",
			"%s of the records never expire, and volatile-* evicts none of them",
			percent(float64(sample.lasting)/float64(sample.records())))
	}
	s.examineSkew(ctx, all)
}

// manyStale is how many stale entries of another namespace are worth a word.
const manyStale = 1_000

// examineOthers looks for other shards of the namespace, and for namespaces that
// nobody cleans.
func (s *session) examineOthers(ctx context.Context, all *findings) {
	namespaces, err := s.locate(ctx)
	if err != nil {
		all.cannot("shards", err, "")
		return
	}
	var strays, idle []string
	for _, other := range namespaces {
		if other.Glob() == s.layout.Glob() { // the same namespace
			if spread(other.Layout) != spread(s.layout) {
				strays = append(strays, spread(other.Layout))
			}
			continue
		}
		sample, err := s.sample(ctx, other.Layout, other.indexed)
		if err != nil { // the next would be refused too, and fill the ACL log
			all.cannot("idle", err, "")
			break
		}
		if sample.stale() >= manyStale && sample.staleShare() > staleShare {
			idle = append(idle, fmt.Sprintf("%s (%s of %s)",
				spread(other.Layout), percent(sample.staleShare()), number(sample.entries)))
		}
	}
	if len(strays) > 0 {
		all.add("shards", problem, strayRepair,
			"the namespace has an index outside of %s too, which no pattern meets here: %s", spread(s.layout), some(strays))
	}
	if len(idle) > 0 {
		all.add("idle", worth, "wildkey sweep, with --namespace and --shards of each as wildkey top lists them: "+
			"only puts that make an index grow remove such entries, and those namespaces get few",
			"other namespaces keep many stale entries: %s", some(idle))
	}
}
