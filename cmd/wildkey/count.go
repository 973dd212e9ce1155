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
		RunE: t.on(reading, func(ctx context.Context, s *session, args []string) error {
			pattern, err := patternArgument(args)
			if err != nil {
				return err
			}
			n, err := s.cache.Count(ctx, pattern)
			if err != nil {
				return err
			}
			switch {
			case t.json:
				err = t.line(map[string]int{"count": n})
			case t.isTerminal(t.stdout):
				_, err = fmt.Fprintln(t.out, number(n))
			default: // a program may read it
				_, err = fmt.Fprintln(t.out, n)
			}
			if err == nil && n == 0 {
				err = nothingMatches(pattern)
			}
			return err
		}),
	}
}
