package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

func (t *tool) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with the server for this namespace and user, and what to do about it",
		Long: `Say what is wrong with the server for this namespace and user, and what to do
about it: its version and role, the cluster slots and which of them are on their
way to another node or left so, eviction policy and memory,
missing scripts, the ACL of this user, the indexes and their stale entries,
other shards of the namespace than these, and other namespaces that nobody
cleans. These it looks for with SCAN, through the whole keyspace.
It writes nothing. A problem makes the exit code 4, a note does not.`,
		Args: cobra.NoArgs,
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			homes, err := s.homes(ctx)
			if err != nil {
				return err
			}
			var all findings
			all.onEach(homes, func(home home, found *findings) { s.examineServer(ctx, home, found) })
			open := s.openSlots(ctx, &all)
			all.onEach(homes, func(home home, found *findings) { s.examineCluster(ctx, home, open, found) })
			evicting := ""
			all.onEach(homes, func(home home, found *findings) {
				evicting = cmp.Or(s.examineMemory(ctx, home, found), evicting)
			})
			s.examineScripts(ctx, t.preloaded, &all)
			all.onEach(homes, func(home home, found *findings) { s.examineACL(ctx, home, t.preloaded, found) })
			s.examineIndexes(ctx, evicting, &all)
			s.examineOthers(ctx, &all)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := t.writeFindings(all); err != nil {
				return err
			}
			if slices.ContainsFunc(all, func(f finding) bool { return f.Status == problem }) {
				return outcome{exitFindings, fmt.Errorf("there is a problem for namespace %s", plain(t.namespace))}
			}
			return nil
		}),
	}
}

func (s *session) examineServer(ctx context.Context, home home, all *findings) {
	about, err := ask(ctx, home)
	if err != nil {
		all.cannot("server", err, "")
		return
	}
	text := fmt.Sprintf("%s %s at %s, %s, %s", about.product, about.version, home.address, about.mode, about.role)
	switch {
	case about.version != "" && !about.atLeast(6, 2):
		all.add("server", problem, "the scripts need Redis 6.2 or later: upgrade", "%s", text)
	case about.role != "master":
		all.add("server", worth, "reading commands work here; give the master's URL to write", "%s", text)
	default:
		all.add("server", fine, "", "%s", text)
	}
}

// openSlots returns which slots are on their way from a node or to one, by what
// each says of itself: the others do not know.
func (s *session) openSlots(ctx context.Context, all *findings) map[string][]string {
	if s.about.mode != "cluster" {
		return nil
	}
	nodes, err := s.nodes(ctx, false)
	var failed failures
	if err != nil {
		failed = append(failed, err)
	}
	open := map[string][]string{}
	for _, node := range nodes {
		list, err := node.ClusterNodes(ctx).Result()
		if err != nil {
			failed = append(failed, fmt.Errorf("CLUSTER NODES on %s: %w", node.address, err))
		}
		for _, way := range openSlot.FindAllStringSubmatch(list, -1) { // in the line of the node itself
			where := map[string]string{">": "migrating from ", "<": "importing to "}[way[2]]
			open[way[1]] = append(open[way[1]], where+node.address)
		}
	}
	if err := failed.err(); err != nil {
		all.cannot("cluster", err, "")
	}
	return open
}

// openSlot is how CLUSTER NODES shows one: [slot->-node] or [slot-<-node].
var openSlot = regexp.MustCompile(`\[([0-9]+)-([<>])-`)

func (s *session) examineCluster(ctx context.Context, home home, open map[string][]string, all *findings) {
	if s.about.mode != "cluster" {
		return
	}
	slots := make([]*redis.IntCmd, len(home.tags))
	var state *redis.StringCmd
	_, err := home.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, tag := range home.tags {
			slots[i] = p.ClusterKeySlot(ctx, tag)
		}
		state = p.ClusterInfo(ctx)
		return nil
	})
	var shown, moving []string
	for i, tag := range home.tags {
		shown = append(shown, fmt.Sprintf("%s %d", tag, slots[i].Val()))
		if ways := open[fmt.Sprint(slots[i].Val())]; ways != nil {
			moving = append(moving, shown[i]+" "+strings.Join(ways, " "))
		}
	}
	switch {
	case err != nil:
		all.cannot("cluster", err, "")
	case !strings.Contains(state.Val(), "cluster_state:ok"):
		all.add("cluster", problem, "look at CLUSTER INFO and CLUSTER SHARDS: slots are not served, or nodes fail",
			"the cluster is down; slots of %s: %s", home.address, some(shown))
	case len(moving) > 0:
		all.add("cluster", problem, "redis-cli --cluster fix "+home.address+", unless slots are just being moved",
			"slots of %s are open, and calls may fail with TRYAGAIN: %s", home.address, some(moving))
	default:
		all.add("cluster", fine, "", "slots on %s: %s", home.address, some(shown))
	}
}

// examineMemory returns the policy by which the server evicts records that have a TTL,
// and no others; empty if it does not.
func (s *session) examineMemory(ctx context.Context, home home, all *findings) (evicting string) {
	info, err := home.InfoMap(ctx, "memory").Result()
	if err != nil {
		all.cannot("memory", err, "have someone who may call INFO look at maxmemory and maxmemory-policy")
		return ""
	}
	memory := info["Memory"]
	policy := memory["maxmemory_policy"]
	used, _ := strconv.ParseInt(memory["used_memory"], 10, 64)
	limit, _ := strconv.ParseInt(memory["maxmemory"], 10, 64)
	volatile := strings.HasPrefix(policy, "volatile-")
	switch {
	case strings.HasPrefix(policy, "allkeys-"):
		status := problem
		if limit == 0 {
			status = worth // nothing is evicted yet
		}
		all.add("eviction", status,
			"CONFIG SET maxmemory-policy noeviction, or a volatile-* one; wildkey reindex repairs what was evicted",
			"%s may evict an index: its records are then found by no pattern", policy)
	case volatile:
		all.add("eviction", fine, "", "%s evicts records, and never an index: that has no TTL", policy)
	case policy == "noeviction":
		all.add("eviction", fine, "", "noeviction evicts nothing: a full server refuses writes")
	default:
		all.add("eviction", worth, "look at maxmemory-policy: allkeys-* may evict an index", "INFO does not tell the policy")
	}
	switch text := size(used) + " used"; {
	case limit == 0:
		all.add("memory", worth, "CONFIG SET maxmemory, below what the machine has", "%s, without a limit", text)
	case used > limit/10*9:
		all.add("memory", problem, "raise maxmemory, or find what to delete: wildkey top, wildkey sweep, wildkey rm",
			"%s of %s: writes fail, or records are evicted, when it is full", text, size(limit))
	default:
		all.add("memory", fine, "", "%s of %s", text, size(limit))
	}
	if volatile && limit > 0 {
		return policy
	}
	return ""
}

func (s *session) examineScripts(ctx context.Context, preloaded bool, all *findings) {
	rows, err := s.scriptRows(ctx, ownDigests())
	if err != nil {
		all.cannot("scripts", err, "have an operator run wildkey scripts verify")
	}
	missing := lacking(rows)
	switch {
	case err != nil && len(missing) == 0:
	case len(missing) == 0:
		all.add("scripts", fine, "", "all %d are loaded", len(rows))
	case preloaded:
		all.add("scripts", problem, "wildkey scripts load", "%s", strings.Join(missing, "; "))
	default:
		all.add("scripts", worth, "wildkey scripts load; clients that are not set to Preloaded load them when they need them",
			"%s", strings.Join(missing, "; "))
	}
}
