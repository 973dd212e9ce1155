package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

func (t *tool) touchCommand() *cobra.Command {
	var live ttl
	command := &cobra.Command{
		Use:   "touch PATTERN (--ttl DURATION | --no-expiry)",
		Short: "Give the records that match a new TTL",
		Long: `Give the records that match a new TTL.

It changes no value, so it leaves the leases of package fetch alone.`,
		Example:               `  wildkey touch 'user:42:session:*' --ttl 48h`,
		DisableFlagsInUseLine: true,
	}
	live.flags(command)
	command.MarkFlagsOneRequired("ttl", "no-expiry")
	command.RunE = t.on(writing, func(ctx context.Context, s *session, args []string) error {
		pattern, err := patternArgument(args)
		if err != nil {
			return err
		}
		total := unknown
		if t.hasProgress() {
			if total, err = s.cache.Count(ctx, pattern); err != nil {
				return err
			}
		}
		progress := t.progress("touching", int64(total), inRecords)
		n := 0
		err = s.watch(ctx, "put", func(_ string, n int) { progress.add(n) })
		if err == nil {
			n, err = s.cache.TouchMatch(ctx, time.Duration(live), pattern)
		}
		progress.end()
		return t.changed("touched", n, pattern, err)
	})
	return command
}
