package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
)

func (t *tool) reshardCommand() *cobra.Command {
	var to wildkey.Options
	var yes, dryRun bool
	command := &cobra.Command{
		Use:   "reshard --to-shards N [--to-namespace NAME]",
		Short: "Move all records to another number of shards, after asking",
		Long: `Move all records to another number of shards. reshard says how many, and asks
first. It moves the records of --namespace, --shards and --shard-segments: the
old place. The flags with --to- name the new place.

Each record keeps its value and the time that it has left. If the new place has
a record with the same key, that one is newer, and stays. reshard copies a
record before it deletes the old one. If Ctrl-C or a broken connection stops it,
run it again, and it goes on.

Clients may work meanwhile under these rules. They put only in the new place.
They read first in the old place, then in the new one. They delete and touch in
the old place, then in the new one, and once more in the new one when all
records have moved. They wait until then to take records, or to put them on a
condition.

reshard moves the records that the index holds: if check finds unlisted records,
run reindex first. It deletes the leases of package fetch, so a value that a
client is loading for the old place is not stored.

A record with more than 292 years to live stays, and reshard fails. Export that
record, import it in the new place, and delete it in the old one.`,
		Example: `  wildkey reshard --shards 1 --to-shards 48 --to-shard-segments 2
  wildkey reshard --shards 48 --to-shards 96`,
		DisableFlagsInUseLine: true,
	}
	flags := command.Flags()
	flags.Var(&atLeastOne{&to.Shards, maxShards}, "to-shards", "new number of shards")
	flags.Var(&atLeastOne{&to.ShardSegments, maxSegments}, "to-shard-segments",
		"new number of leading segments that choose the shard (default: --shard-segments)")
	flags.StringVar(&to.Namespace, "to-namespace", "", "new namespace (default: --namespace)")
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&dryRun, "dry-run", false, "only say how many records")
	command.MarkFlagRequired("to-shards")
	command.MarkFlagsMutuallyExclusive("yes", "dry-run")
	command.RunE = t.on(writing, func(ctx context.Context, s *session, _ []string) error {
		to.Namespace = cmp.Or(to.Namespace, t.namespace)
		to.ShardSegments = cmp.Or(to.ShardSegments, t.shardSegments)
		to.Preloaded = t.preloaded
		target, err := wildkey.New(s.client, to)
		if err != nil {
			return err
		}
		here, there := spread(s.layout), spread(target.Layout())
		if here == there {
			return usageError(fmt.Errorf("the records are in %s already: "+
				"give another --to-shards, --to-shard-segments or --to-namespace", here))
		}
		everything, err := patternArgument(nil)
		if err != nil {
			return err
		}
		n, err := s.cache.Count(ctx, everything)
		switch {
		case err != nil:
			return err
		case dryRun:
			return t.result(map[string]int{"would_move": n}, "would move %s from %s to %s", records(n), here, there)
		case n > 0 && !yes:
			question := fmt.Sprintf("Move %s from %s to %s?", records(n), here, there)
			if err := t.confirm(ctx, question, "nothing was moved"); err != nil {
				return err
			}
		}
		progress := t.progress("moving", int64(n), inRecords)
		from := map[string]bool{} // indexes
		for shard := range s.layout.Shards() {
			from[s.layout.Index(shard)] = true
		}
		err = s.watch(ctx, "put", func(index string, n int) {
			if from[index] { // the records have been copied, and go
				progress.add(n)
			}
		})
		moved := 0
		if err == nil {
			moved, err = admin.Move(ctx, s.cache, target)
		}
		progress.end()
		if err != nil {
			return partly{err, records(moved) + " moved"}
		}
		return t.result(map[string]int{"moved": moved}, "moved %s from %s to %s", records(moved), here, there)
	})
	return command
}
