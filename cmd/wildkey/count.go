package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (t *tool) countCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "count [PATTERN]",
		Short: "Count the records that match",
		Args:  cobra.MaximumNArgs(1),
		RunE: t.on(reading, func(ctx context.Context, s *session, args []string) error {
			pattern, err := patternArgument(args)
			if err != nil {
				return err
			}
			n, err := s.cache.Count(ctx, pattern)
			if err != nil {
				return err
			}
			if t.json {
				err = t.line(map[string]int{"count": n})
			} else {
				_, err = fmt.Fprintln(t.out, n)
			}
			if err == nil && n == 0 {
				err = nothingMatches(pattern)
			}
			return err
		}),
	}
}
