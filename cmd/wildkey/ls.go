package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// listing is what the flags of ls ask for.
type listing struct {
	values, keys, counts bool
	limit                int // 0: none
	order                string
}

// maxSorted is how many records --sort keeps at the most.
const maxSorted = 100_000

// orders are those of --sort.
var orders = map[string]func(a, b item) int{
	"size": func(a, b item) int { return cmp.Compare(b.bytes, a.bytes) },
	"ttl":  func(a, b item) int { return cmp.Compare(a.TTL, b.TTL) }, // NoExpiry is the longest
}

func (t *tool) lsCommand() *cobra.Command {
	var how listing
	command := &cobra.Command{
		Use:   "ls [KEY:|PATTERN]",
		Short: "List the records that match, or the next segments after a key",
		Long: `List the records that match, or the next segments after a key.

With a PATTERN, ls lists the records that match, in the order of their keys.

With a KEY and a colon after it, ls lists the next segments, as it would list a
directory: the line user:42 is a record, and the line user:42: stands for all
records whose keys go on after it. Each line costs the server one step, however
many records there are. Without an argument, ls lists the first segments.

--count also counts the records of each line that ends in a colon. This takes a
call for each, which reads the index entries of all records there.

--sort reads all records that match before it shows any. It keeps and shows as
many as --limit says, or ` + number(maxSorted) + `.`,
		Example: `  wildkey ls user:
  wildkey ls 'user:42:session:*'
  wildkey ls '**' --sort size --limit 10
  wildkey ls '**' --keys | wc -l`,
	}
	command.Flags().BoolVar(&how.values, "values", false, "show values too, the beginning of each on one line")
	command.Flags().BoolVarP(&how.keys, "keys", "k", false, "show keys only")
	command.Flags().BoolVar(&how.counts, "count", false, "with KEY: count the records of each line that ends in a colon")
	command.Flags().Var(&atLeastOne{&how.limit, math.MaxInt32}, "limit", "stop after this many lines")
	command.Flags().StringVar(&how.order, "sort", "", "sort by size (largest first) or ttl (soonest to expire first)")
	command.MarkFlagsMutuallyExclusive("values", "keys", "count")
	command.MarkFlagsMutuallyExclusive("values", "sort") // values of any size would be kept
	command.RunE = t.on(reading, func(ctx context.Context, s *session, args []string) error {
		text := strings.Join(args, "")
		isDirectory := text == "" || strings.HasSuffix(text, ":")
		switch {
		case isDirectory && (how.values || how.order != ""):
			return usageError(fmt.Errorf("--values and --sort are for records: give a PATTERN, such as '%s**'", text))
		case !isDirectory && how.counts:
			return usageError(errors.New("--count needs a KEY: with a colon at its end, and no pattern"))
		case how.order != "" && orders[how.order] == nil:
			return usageError(errors.New("--sort takes size or ttl"))
		case how.order != "" && how.limit > maxSorted:
			return usageError(fmt.Errorf("--sort keeps %s records at most", number(maxSorted)))
		}
		whole := text
		if isDirectory {
			text, whole = text+"*", text+"**"
		}
		pattern, err := wildkey.ParsePattern(text)
		if err != nil {
			return usageError(err)
		}
		shown, err := t.list(ctx, s, s.items(ctx, pattern, isDirectory, how), how)
		if err == nil && shown == 0 {
			err = nothingMatches(wildkey.MustParsePattern(whole))
		}
		return err
	})
	return command
}

// item is a line of a list: a record, or what lies beneath its key.
type item struct {
	record
	beneath bool
}

func (i item) String() string {
	if i.beneath {
		return i.Key.String() + ":"
	}
	return i.Key.String()
}

// items yields what is to be listed, in the order of the keys.
func (s *session) items(ctx context.Context, pattern wildkey.Pattern, isDirectory bool, how listing) iter.Seq2[item, error] {
	if how.values {
		return func(yield func(item, error) bool) {
			for record, err := range s.walk(ctx, pattern) {
				if !yield(item{record: record}, err) {
					return
				}
			}
		}
	}
	bare := func(yield func(item, error) bool) {
		if isDirectory {
			for found, err := range s.cache.List(ctx, pattern) {
				if !yield(item{record{Entry: wildkey.Entry{Key: found.Key}}, found.Beneath}, err) {
					return
				}
			}
			return
		}
		for key, err := range s.cache.MatchKeys(ctx, pattern) {
			if !yield(item{record: record{Entry: wildkey.Entry{Key: key}}}, err) {
				return
			}
		}
	}
	if how.keys && how.order == "" {
		return bare
	}
	return s.measure(ctx, bare)
}

// list writes items as they come, or sorted.
func (t *tool) list(ctx context.Context, s *session, items iter.Seq2[item, error], how listing) (shown int, err error) {
	kept, total := cmp.Or(how.limit, maxSorted), 0
	if how.order != "" {
		if items, total, err = first(items, kept, orders[how.order]); err != nil {
			return 0, err
		}
	}
	for item, err := range items {
		if err != nil {
			return shown, err
		}
		if how.limit > 0 && shown == how.limit {
			return shown, t.noteBelow("stopped after %s: there are more", number(shown))
		}
		beneath := 0
		if how.counts && item.beneath {
			if beneath, err = s.countBeneath(ctx, item.Key); err != nil {
				return shown, err
			}
		}
		if err := t.show(item, beneath, how, shown == 0); err != nil {
			return shown, err
		}
		shown++
	}
	if total > kept {
		err = t.noteBelow("the first %s of %s, sorted by %s", number(kept), records(total), how.order)
	}
	return shown, err
}

// first returns those n items that come first in an order, and of how many.
func first(items iter.Seq2[item, error], n int, order func(a, b item) int) (iter.Seq2[item, error], int, error) {
	var kept []item
	total := 0
	keep := func() {
		slices.SortStableFunc(kept, order)
		kept = kept[:min(n, len(kept))]
	}
	for item, err := range items {
		if err != nil {
			return nil, 0, err
		}
		if kept, total = append(kept, item), total+1; len(kept) == 2*n {
			keep()
		}
	}
	keep()
	return func(yield func(item, error) bool) {
		for _, item := range kept {
			if !yield(item, nil) {
				return
			}
		}
	}, total, nil
}

// countBeneath returns how many records have a key that begins with this one and is longer.
func (s *session) countBeneath(ctx context.Context, key wildkey.Key) (int, error) {
	pattern, err := wildkey.ParsePattern(key.String() + ":*:**")
	if err != nil {
		return 0, err
	}
	return s.cache.Count(ctx, pattern)
}

// beneathLine is what lies beneath a key, as JSON.
type beneathLine struct {
	Beneath string `json:"beneath"`
	Records *int   `json:"records,omitempty"`
}

// show writes an item. Columns of a fixed width come first: a key has up to 4,096
// bytes, and is never cut, since it is there to be copied.
func (t *tool) show(item item, beneath int, how listing, heading bool) error {
	switch {
	case t.json && item.beneath && how.counts:
		return t.line(beneathLine{item.String(), &beneath})
	case t.json && item.beneath:
		return t.line(beneathLine{Beneath: item.String()})
	case t.json && how.keys:
		return t.line(map[string]lineKey{"key": lineKey(item.Key)})
	case t.json:
		return t.line(newLine(item.record, how.values))
	case how.keys:
		_, err := fmt.Fprintln(t.out, item)
		return err
	}
	cells := []string{"EXPIRES IN", "BYTES", "RECORDS"}
	row := func(key string) string {
		var row strings.Builder
		for i, cell := range cells {
			if how.counts || i < 2 {
				fmt.Fprintf(&row, "%10s ", cell)
			}
		}
		return row.String() + " " + key
	}
	if heading {
		fmt.Fprintln(t.out, t.styled(t.stdout, bold, row("KEY")))
	}
	key := item.String()
	switch {
	case item.beneath:
		cells = []string{"-", "-", number(beneath)}
	case item.TTL == wildkey.NoExpiry:
		cells = []string{"never", number(item.bytes), "-"}
	default:
		cells = []string{span(item.TTL), number(item.bytes), "-"}
	}
	if how.values {
		key += " = " + clipped(string(item.Value), 60)
	}
	_, err := fmt.Fprintln(t.out, row(key))
	return err
}

// noteBelow is a note that comes behind the output so far.
func (t *tool) noteBelow(sentence string, args ...any) error {
	err := t.out.Flush()
	t.note(sentence, args...)
	return err
}
