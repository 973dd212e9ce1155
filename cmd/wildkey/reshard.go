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
		Short: "Move all records to another number of shards, after a question that says how many",
		Long: `Move all records to another number of shards, after a question that says how many.

The records are those of --namespace with --shards and --shard-segments.

Each keeps its value and the time that it has left; one that is there already is
newer, and stays as it is. It is copied before it is deleted, so what Ctrl-C or
a broken connection stops is to be run again, and goes on.

Clients may go on meanwhile if they put there alone, and read here first, then
there. What they delete or touch they do here, there, and there once more when
all has moved; what takes a record, or puts one on a condition, waits until then.

It moves what the index holds: if check finds records unlisted, reindex first.
Leases of package fetch go, and are not moved: what a client is loading here
then is not stored.

A record with more than 292 years to live stays, and is an error. To move it,
export it, import it there, and delete it here.`,
		Example: `  wildkey reshard --shards 1 --to-shards 48 --to-shard-segments 2
  wildkey reshard --shards 48 --to-shards 96`,
		DisableFlagsInUseLine: true,
	}
	flags := command.Flags()
	flags.Var(&atLeastOne{&to.Shards, maxShards}, "to-shards", "how many shards there are to be")
	flags.Var(&atLeastOne{&to.ShardSegments, maxSegments}, "to-shard-segments",
		"leading segments that choose the shard; by default as many as --shard-segments")
	flags.StringVar(&to.Namespace, "to-namespace", "", "namespace of the records then; by default that of now")
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&dryRun, "dry-run", false, "only say how many")
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
