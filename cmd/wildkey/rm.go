package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (t *tool) rmCommand() *cobra.Command {
	var yes, dryRun bool
	command := &cobra.Command{
		Use:   "rm PATTERN",
		Short: "Delete the records that match, after asking",
		Long: `Delete the records that match. rm says how many, and asks first.

It deletes 250 records at a time, each batch as a whole. Records that are put
while it runs may stay.

It deletes the leases of package fetch that match first, even without a record:
a value that a client is loading at that moment is not stored. rm does not count
leases. If no record matches, it deletes them without a question.`,
		Example: `  wildkey rm 'user:42:session:*'
  wildkey rm --dry-run 'user:42:**'
  wildkey rm --yes 'user:42:**'`,
	}
	command.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "only say how many records")
	command.MarkFlagsMutuallyExclusive("yes", "dry-run")
	command.RunE = t.on(writing, func(ctx context.Context, s *session, args []string) error {
		pattern, err := patternArgument(args)
		if err != nil {
			return err
		}
		matching, err := s.cache.Count(ctx, pattern)
		switch {
		case err != nil:
			return err
		case dryRun && matching > 0:
			return t.result(map[string]int{"would_delete": matching}, "would delete %s", records(matching))
		case matching == 0 && dryRun:
			return nothingMatches(pattern)
		case matching == 0: // but it may be on its way, or be remembered not to be there
			_, err := s.cache.DeleteMatch(ctx, pattern.Leases())
			return cmp.Or(err, nothingMatches(pattern))
		case !yes:
			if err := t.confirm(ctx, fmt.Sprintf("Delete %s of namespace %s that match %s?",
				records(matching), plain(t.namespace), pattern), "nothing was deleted"); err != nil {
				return err
			}
		}
		progress := t.progress("deleting", int64(matching), inRecords)
		n := 0
		err = s.watch(ctx, "delete", func(_ string, n int) { progress.add(n) })
		if err == nil {
			n, err = s.voids.DeleteMatch(ctx, pattern)
		}
		progress.end()
		return t.changed("deleted", n, pattern, err)
	})
	return command
}

// confirm asks on a terminal. An error means no, and says so.
func (t *tool) confirm(ctx context.Context, question, no string) error {
	if !t.isTerminal(t.in) {
		return usageError(errors.New("cannot ask, because standard input is not a terminal: give --yes or --dry-run"))
	}
	fmt.Fprint(t.errOut, question, " [y/N] ")
	answer, err := bufio.NewReader(t.input(ctx)).ReadString('\n')
	if ctx.Err() != nil {
		fmt.Fprintln(t.errOut)
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New(no)
}

// changed reports what was done to n records, which a failure may have ended.
func (t *tool) changed(done string, n int, pattern fmt.Stringer, err error) error {
	switch {
	case err != nil && n > 0:
		return partly{err, records(n) + " " + done}
	case err != nil:
		return err
	case n == 0:
		return nothingMatches(pattern)
	}
	return t.result(map[string]int{done: n}, "%s %s", done, records(n))
}
