package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// memorySample is how many records beneath a key are asked for their memory.
const memorySample = 100

// memoryRow is a record, or what lies beneath its key, and what it weighs.
type memoryRow struct {
	Key       string  `json:"key"` // with a colon behind it for what lies beneath
	Records   int64   `json:"records"`
	Bytes     int64   `json:"record_bytes"`
	Estimated bool    `json:"estimated"`
	Share     float64 `json:"share"`

	sample []int64 // bytes of some records, or notThere
}

// notThere takes the place of the bytes of a record that has gone meanwhile.
const notThere = -1

func (t *tool) duCommand() *cobra.Command {
	var limit int
	command := &cobra.Command{
		Use:   "du [KEY:]",
		Short: "List the next segments after a key, by the memory they use",
		Long: `List the next segments after a key, as ls KEY: does, those that use most memory
first. Without an argument, list the first segments.

du reads the index entries of all records there, and counts them exactly. It
measures the memory of ` + fmt.Sprint(memorySample) + ` random records for each line: a number with ~ is an
estimate from these. It leaves out the memory of the index: see wildkey top.`,
	}
	command.Flags().Var(&atLeastOne{&limit, math.MaxInt32}, "limit", "show only this many lines")
	command.RunE = t.on(reading, func(ctx context.Context, s *session, args []string) error {
		text := strings.Join(args, "")
		if text != "" && !strings.HasSuffix(text, ":") {
			return usageError(errors.New("du needs a KEY: with a colon at its end"))
		}
		pattern, err := wildkey.ParsePattern(text + "**")
		if err != nil {
			return usageError(err)
		}
		depth := strings.Count(text, ":")
		rows, err := s.memoryBeneath(ctx, pattern, depth)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return nothingMatches(pattern)
		}
		var total memoryRow
		for _, row := range rows {
			total.Records, total.Bytes = total.Records+row.Records, total.Bytes+row.Bytes
			total.Estimated = total.Estimated || row.Estimated
		}
		for i := range rows {
			rows[i].Share = float64(rows[i].Bytes) / float64(max(1, total.Bytes))
		}
		all := len(rows)
		if limit > 0 {
			rows = rows[:min(limit, all)]
		}
		headings := []string{"RECORDS", "RECORD MEMORY", "SHARE", "KEY"}
		if err := writeTable(t, rows, headings, func(row memoryRow) []string {
			return []string{number(row.Records), row.memory(), row.about() + percent(row.Share), row.Key}
		}); err != nil {
			return err
		}
		if len(rows) < all {
			return t.noteBelow("the first %s of %s; all: %s, %s", number(len(rows)), number(all), records(total.Records), total.memory())
		}
		return t.noteBelow("all: %s, %s", records(total.Records), total.memory())
	})
	return command
}

func (r memoryRow) about() string {
	if r.Estimated {
		return "~"
	}
	return ""
}

func (r memoryRow) memory() string { return r.about() + size(r.Bytes) }

// memoryBeneath returns what has one segment more than depth, the largest first.
func (s *session) memoryBeneath(ctx context.Context, pattern wildkey.Pattern, depth int) ([]memoryRow, error) {
	rows := map[string]*memoryRow{}
	var batch []asked
	for key, err := range s.cache.MatchKeys(ctx, pattern) {
		if err != nil {
			return nil, err
		}
		if len(key) <= depth {
			continue // the record of the key itself, which ** finds too
		}
		text := wildkey.Key(key[:depth+1]).String()
		if len(key) > depth+1 {
			text += ":"
		}
		row := rows[text]
		if row == nil {
			row = &memoryRow{Key: text}
			rows[text] = row
		}
		// A sample of a stream, by reservoir: each record so far is in it with the same chance.
		place := int(row.Records)
		if row.Records++; place < memorySample {
			row.sample = append(row.sample, notThere)
		} else if place = int(rand.Int64N(row.Records)); place >= memorySample {
			continue
		}
		if batch = append(batch, asked{key, row, place}); len(batch) == measureBatch {
			if err := s.weighRecords(ctx, batch); err != nil {
				return nil, err
			}
			batch = batch[:0]
		}
	}
	if err := s.weighRecords(ctx, batch); err != nil {
		return nil, err
	}
	var all []memoryRow
	for _, row := range rows {
		row.estimate()
		all = append(all, *row)
	}
	slices.SortFunc(all, func(a, b memoryRow) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Key, b.Key))
	})
	return all, nil
}

// asked is a record whose memory goes to a place of a sample.
type asked struct {
	key   wildkey.Key
	row   *memoryRow
	place int
}

func (s *session) weighRecords(ctx context.Context, batch []asked) error {
	usages := make([]*redis.IntCmd, len(batch))
	s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // its error is the first one's
		for i, each := range batch {
			name, err := s.layout.Record(each.key)
			if err != nil {
				return err
			}
			usages[i] = p.MemoryUsage(ctx, name)
		}
		return nil
	})
	for i, each := range batch {
		bytes, err := usages[i].Result()
		if err == redis.Nil {
			bytes = notThere
		} else if err != nil {
			return fmt.Errorf("MEMORY USAGE: %w", err)
		}
		each.row.sample[each.place] = bytes
	}
	return nil
}

// estimate takes the sample for all records.
func (r *memoryRow) estimate() {
	var bytes int64
	for _, n := range r.sample {
		bytes += max(0, n)
	}
	// What has gone counts as nothing: as much of the rest will have gone too.
	r.Estimated = r.Records > int64(len(r.sample))
	r.Bytes = int64(math.Round(float64(bytes) / float64(len(r.sample)) * float64(r.Records)))
}
