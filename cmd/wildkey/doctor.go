package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

func (t *tool) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with the server, and what to do about it",
		Long: `Say what is wrong with the server for this namespace and user, and what to do
about it. doctor looks at

  server    version and role
  lua       known holes in the server's Lua
  cluster   slots that are not served, or that move to another node
  eviction  what the eviction policy does to an index
  memory    used memory and its limit
  scripts   scripts that are missing, or that the server does not run
  acl       permissions of this user
  indexes   the indexes of the namespace
  stale     index entries whose record is gone
  skew      shards that hold too much
  shards    other numbers of shards in the same namespace
  idle      other namespaces with many stale entries

For the last two it reads the names of all keys with SCAN. It writes nothing. If
the server does not tell something, doctor does not judge it, and says that it
"cannot be seen". The exit code is 4 if there is a problem. Notes do not count.`,
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			var all findings
			if err := s.examine(ctx, t.preloaded, &all); err != nil {
				return err
			}
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

// examine adds what is to be said of each matter, in the order in which to read it.
func (s *session) examine(ctx context.Context, preloaded bool, all *findings) error {
	homes, err := s.homes(ctx)
	if err != nil {
		return err
	}
	all.onEach(homes, func(home home, found *findings) { s.examineServer(ctx, home, found) })
	all.onEach(homes, func(home home, found *findings) { s.examineLua(ctx, home, found) })
	open, errOpen := s.openSlots(ctx)
	all.onEach(homes, func(home home, found *findings) { s.examineCluster(ctx, home, open, errOpen, found) })
	evicting := ""
	all.onEach(homes, func(home home, found *findings) {
		evicting = cmp.Or(s.examineMemory(ctx, home, found), evicting)
	})
	all.onEach(homes, func(home home, found *findings) { s.examineEngine(ctx, home, preloaded, found) })
	s.examineScripts(ctx, preloaded, all)
	all.onEach(homes, func(home home, found *findings) { s.examineACL(ctx, home, preloaded, found) })
	s.examineIndexes(ctx, evicting, all)
	s.examineOthers(ctx, all)
	return nil
}

// openSlots returns which slots are on their way from a node or to one, by what
// each says of itself: the others do not know. The error is of those that say nothing.
func (s *session) openSlots(ctx context.Context) (map[string][]string, error) {
	if s.about.mode != "cluster" {
		return nil, nil
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
	return open, failed.err()
}

// openSlot is how CLUSTER NODES shows one: [slot->-node] or [slot-<-node].
var openSlot = regexp.MustCompile(`\[([0-9]+)-([<>])-`)

func (s *session) examineCluster(
	ctx context.Context, home home, open map[string][]string, errOpen error, all *findings,
) {
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
	case !strings.Contains(state.Val(), "cluster_state:"):
		all.unseen("cluster", "CLUSTER INFO does not tell cluster_state", "look at CLUSTER INFO on each node itself")
	case !strings.Contains(state.Val(), "cluster_state:ok"):
		all.add("cluster", problem, "look at CLUSTER INFO and CLUSTER SHARDS: slots are not served, or nodes fail",
			"the cluster is down; slots of %s: %s", home.address, some(shown))
	case len(moving) > 0:
		all.add("cluster", problem, "redis-cli --cluster fix "+home.address+", unless slots are just being moved",
			"slots of %s are open, and calls may fail with TRYAGAIN: %s", home.address, some(moving))
	case errOpen != nil: // none of these may be open
		all.cannot("cluster", errOpen, "")
	default:
		all.add("cluster", fine, "", "slots on %s: %s", home.address, some(shown))
	}
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
