package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// What a finding is worth.
const (
	fine    = "ok"
	worth   = "note"
	problem = "problem"
)

// finding is what the doctor says of one matter.
type finding struct {
	Matter  string `json:"matter"`
	Status  string `json:"status"` // fine, worth or problem
	Finding string `json:"finding"`
	Advice  string `json:"advice,omitempty"`
}

// findings are those of one matter.
type findings []finding

func (f *findings) add(matter, status, advice, text string, args ...any) {
	*f = append(*f, finding{matter, status, fmt.Sprintf(text, args...), advice})
}

// cannot notes that this user may not look at a matter.
func (f *findings) cannot(matter string, err error, advice string) {
	f.add(matter, worth, advice, "cannot be seen: %v", err)
}

func (t *tool) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with the server for this namespace and user, and what to do about it",
		Long: `Say what is wrong with the server for this namespace and user, and what to do
about it: its version and role, the cluster slot, eviction policy and memory,
missing scripts, the ACL of this user, the indexes and their stale entries.
It writes nothing. A problem makes the exit code 4, a note does not.`,
		Args: cobra.NoArgs,
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			home, err := s.home(ctx)
			if err != nil {
				return err
			}
			var all findings
			s.examineServer(ctx, home, &all)
			s.examineCluster(ctx, home, &all)
			s.examineMemory(ctx, home, &all)
			s.examineScripts(ctx, t.preloaded, &all)
			s.examineACL(ctx, home, t.preloaded, &all)
			s.examineIndexes(ctx, &all)
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

// writeFindings gives advice a line of its own: it is what is to be read.
func (t *tool) writeFindings(all findings) error {
	for _, f := range all {
		if t.json {
			if err := t.line(f); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(t.out, "%-8s %-9s %s\n", f.Status, f.Matter, visible(f.Finding))
		if f.Advice != "" {
			fmt.Fprintf(t.out, "%-8s %-9s -> %s\n", "", "", visible(f.Advice))
		}
	}
	return nil
}

func (s *session) examineServer(ctx context.Context, home node, all *findings) {
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

func (s *session) examineCluster(ctx context.Context, home node, all *findings) {
	if s.about.mode != "cluster" {
		return
	}
	slot, errSlot := home.ClusterKeySlot(ctx, s.tag).Result()
	state, errState := home.ClusterInfo(ctx).Result()
	switch {
	case errSlot != nil || errState != nil:
		all.cannot("cluster", cmp.Or(errSlot, errState), "")
	case !strings.Contains(state, "cluster_state:ok"):
		all.add("cluster", problem, "look at CLUSTER INFO and CLUSTER SHARDS: slots are not served, or nodes fail",
			"the cluster is down; slot %d of %s is that of %s", slot, s.tag, home.address)
	default:
		all.add("cluster", fine, "", "slot %d of %s lies on %s, with all of this namespace", slot, s.tag, home.address)
	}
}

func (s *session) examineMemory(ctx context.Context, home node, all *findings) {
	info, err := home.InfoMap(ctx, "memory").Result()
	if err != nil {
		all.cannot("memory", err, "have someone who may call INFO look at maxmemory and maxmemory-policy")
		return
	}
	memory := info["Memory"]
	policy := memory["maxmemory_policy"]
	used, _ := strconv.ParseInt(memory["used_memory"], 10, 64)
	limit, _ := strconv.ParseInt(memory["maxmemory"], 10, 64)
	if strings.HasPrefix(policy, "allkeys-") {
		const advice = "CONFIG SET maxmemory-policy noeviction, or a volatile-* one; " +
			"wildkey reindex repairs what was evicted"
		status := problem
		if limit == 0 {
			status = worth // nothing is evicted yet
		}
		all.add("eviction", status, advice, "%s may evict an index: its records are then found by no pattern", policy)
	} else {
		all.add("eviction", fine, "", "%s leaves the indexes alone", policy)
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
}

func (s *session) examineScripts(ctx context.Context, preloaded bool, all *findings) {
	rows, err := s.scriptRows(ctx, ownDigests())
	if err != nil {
		all.cannot("scripts", err, "have an operator run wildkey scripts verify")
		return
	}
	missing := lacking(rows)
	switch {
	case len(missing) == 0:
		all.add("scripts", fine, "", "all %d are loaded", len(rows))
	case preloaded:
		all.add("scripts", problem, "wildkey scripts load", "%s", strings.Join(missing, "; "))
	default:
		all.add("scripts", worth, "wildkey scripts load; clients that are not set to Preloaded load them when they need them",
			"%s", strings.Join(missing, "; "))
	}
}

func (s *session) examineIndexes(ctx context.Context, all *findings) {
	for _, index := range []string{s.order(), s.expiry()} {
		kind, err := s.client.Type(ctx, index).Result()
		if err != nil {
			all.cannot("indexes", err, "")
			return
		}
		if kind != "zset" && kind != "none" {
			all.add("indexes", problem, "rename or delete it, then wildkey reindex", "%s is not an index but a %s", index, kind)
			return
		}
	}
	sample, err := s.sample(ctx, s.tag)
	if err != nil {
		all.cannot("indexes", err, "")
		return
	}
	if sample.entries == 0 {
		all.add("indexes", worth, "if there should be records: look at the namespace, then wildkey reindex",
			"%s has no entry", s.order())
		return
	}
	all.add("indexes", fine, "", "%s entries, %s of them with an expiry; wildkey check looks at each",
		number(sample.entries), number(sample.expiring))
	text := fmt.Sprintf("%s of %s index entries looked up have no record",
		percent(sample.staleShare()), number(sample.taken))
	if share := sample.staleShare(); share >= 0.25 {
		all.add("stale", worth, "wildkey sweep", "%s", text)
	} else {
		all.add("stale", fine, "", "%s", text)
	}
}
