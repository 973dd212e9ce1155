package main

import (
	"context"
	"strconv"
	"strings"
)

// examineMemory returns the policy by which the server evicts records that have a TTL,
// and no others; empty if it does not.
func (s *session) examineMemory(ctx context.Context, home home, all *findings) (evicting string) {
	info, err := home.InfoMap(ctx, "memory").Result()
	if err != nil {
		all.cannot("memory", err, "have someone who may call INFO look at maxmemory and maxmemory-policy")
		return ""
	}
	memory := info["Memory"]
	used, errUsed := strconv.ParseInt(memory["used_memory"], 10, 64)
	limit, errLimit := strconv.ParseInt(memory["maxmemory"], 10, 64)
	policy := memory["maxmemory_policy"]
	examineEviction(policy, limit, all)
	const look = "look at used_memory and maxmemory on the server itself"
	switch {
	case errUsed != nil:
		all.unseen("memory", "INFO does not tell used_memory", look)
	case errLimit != nil:
		all.unseen("memory", "INFO tells "+size(used)+" used, and not maxmemory", look)
	case limit == 0:
		all.add("memory", worth, "CONFIG SET maxmemory, below what the machine has", "%s used, without a limit", size(used))
	case used > limit/10*9:
		all.add("memory", problem, "raise maxmemory, or find what to delete: wildkey top, wildkey sweep, wildkey rm",
			"%s used of %s: writes fail, or records are evicted, when it is full", size(used), size(limit))
	default:
		all.add("memory", fine, "", "%s used of %s", size(used), size(limit))
	}
	if strings.HasPrefix(policy, "volatile-") && limit > 0 {
		return policy
	}
	return ""
}

// examineEviction judges a policy by what it does to an index, which has no TTL. The names of policies begin with the
// keys that they choose from; Redis 8.6 has added allkeys-lrm and volatile-lrm (github.com/redis/redis/pull/14624).
func examineEviction(policy string, limit int64, all *findings) {
	switch {
	case policy == "":
		all.unseen("eviction", "INFO does not tell maxmemory_policy",
			"look at maxmemory-policy on the server itself: allkeys-* may evict an index")
	case policy == "noeviction":
		all.add("eviction", fine, "", "noeviction evicts nothing: a full server refuses writes")
	case policy == "volatile-ttl":
		all.add("eviction", worth, "CONFIG SET maxmemory-policy volatile-lru, if clients use package fetch",
			"volatile-ttl never evicts an index, but leases of package fetch first: several clients may load the same record")
	case strings.HasPrefix(policy, "volatile-"):
		all.add("eviction", fine, "", "%s evicts records, and never an index: that has no TTL", policy)
	case strings.HasPrefix(policy, "allkeys-"):
		status := worth // nothing is evicted yet, or the limit is not known
		if limit > 0 {
			status = problem
		}
		all.add("eviction", status,
			"CONFIG SET maxmemory-policy noeviction, or a volatile-* one; wildkey reindex repairs what was evicted",
			"%s may evict an index: its records are then found by no pattern", policy)
	default:
		all.unseen("eviction", "what the policy "+policy+" does to an index is not known",
			"choose noeviction or a volatile-* policy")
	}
}
