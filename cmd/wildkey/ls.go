package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

func (t *tool) lsCommand() *cobra.Command {
	var withValues, keysOnly bool
	command := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "List the records that match, in the order of their keys",
		Example: `  wildkey ls 'user:42:session:*'
  wildkey ls --values 'user:*:name'
  wildkey ls --keys | wc -l`,
		Args: cobra.MaximumNArgs(1),
	}
	command.Flags().BoolVar(&withValues, "values", false, "show values too, cut to a line")
	command.Flags().BoolVarP(&keysOnly, "keys", "k", false, "show keys only")
	command.MarkFlagsMutuallyExclusive("values", "keys")
	command.RunE = t.on(reading, func(ctx context.Context, s *session, args []string) error {
		pattern, err := patternArgument(args)
		if err != nil {
			return err
		}
		shown := 0
		if keysOnly {
			for key, err := range s.cache.MatchKeys(ctx, pattern) {
				if err != nil {
					return err
				}
				shown++
				if err := t.result(map[string]lineKey{"key": lineKey(key)}, "%s", key); err != nil {
					return err
				}
			}
		} else {
			all := s.measure(ctx, pattern)
			if withValues {
				all = s.walk(ctx, pattern)
			}
			if shown, err = t.list(all, withValues); err != nil {
				return err
			}
		}
		if shown == 0 {
			return nothingMatches(pattern)
		}
		return nil
	})
	return command
}

// list writes records as they come. Columns of a fixed width come first: a key
// has up to 4,096 bytes, and is never cut, since it is there to be copied.
func (t *tool) list(all iter.Seq2[record, error], withValues bool) (shown int, err error) {
	for record, err := range all {
		if err != nil {
			return shown, err
		}
		if shown++; t.json {
			if err := t.line(newLine(record, withValues)); err != nil {
				return shown, err
			}
			continue
		}
		if shown == 1 {
			fmt.Fprintf(t.out, "%10s %10s  %s\n", "EXPIRES IN", "BYTES", "KEY")
		}
		left := "never"
		if record.TTL != wildkey.NoExpiry {
			left = span(record.TTL)
		}
		fmt.Fprintf(t.out, "%10s %10s  %s", left, number(record.bytes), record.Key)
		if withValues {
			fmt.Fprintf(t.out, " = %s", clipped(string(record.Value), 60))
		}
		if _, err := fmt.Fprintln(t.out); err != nil {
			return shown, err
		}
	}
	return shown, nil
}
