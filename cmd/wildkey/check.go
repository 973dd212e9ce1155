package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

// checkSummary is what a check ends with.
type checkSummary struct {
	Records  int `json:"records"`
	Entries  int `json:"index_entries"`
	Stale    int `json:"stale_entries"`
	Breaches int `json:"breaches"`
}

func (t *tool) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Walk a namespace and report every breach of the invariant, without writing",
		Long: `Walk a namespace and report every breach of the invariant, without writing:

  unlisted         a record is not in the order index: no pattern finds it
  no-expiry-entry  a record has a TTL and is not in the expiry index
  wrong-expiry     the expiry index has another millisecond than the record
  needless-expiry  a record never expires and is in the expiry index
  wrong-shard      a record is not in the shard of its key: get does not find it;
                   or a record or an index is in a shard beside those of --shards
  order-score      a score of the order index is not 0: pages may miss the key
  no-key           an index entry is no encoded key
  foreign          a Redis key in the place of a record or of an index is none

An index entry without a record is stale, which is no breach: stale entries are
counted, and wildkey sweep clears them away.

Each record is judged by one snapshot of it and its index entries, so what is
written meanwhile is no breach. Redis 6.2 tells expiries to a few milliseconds.`,
		Args: cobra.NoArgs,
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			check := checker{session: s, reported: map[breach]bool{}}
			progress := t.progress("checking", unknown, inEntries)
			err := check.run(ctx, func(b breach) error {
				progress.end()
				return t.writeBreach(b)
			}, progress.add)
			progress.end()
			if err != nil {
				return err
			}
			sum := check.summary
			err = t.result(sum, "%s, %s, %s stale: %s", records(sum.Records),
				counted(sum.Entries, "index entry", "index entries"), number(sum.Stale),
				counted(sum.Breaches, "breach", "breaches"))
			if err == nil && sum.Breaches > 0 {
				err = outcome{exitFindings, fmt.Errorf("the namespace %s is not whole", plain(t.namespace))}
			}
			return err
		}),
	}
}

func (t *tool) writeBreach(b breach) error {
	if t.json {
		return t.line(b)
	}
	_, err := fmt.Fprintf(t.out, "%-15s  %s  %s; repair: %s\n", b.Kind, b.Key, b.Detail, b.Repair)
	if err == nil {
		err = t.out.Flush()
	}
	return err
}

// checker walks records, and then both indexes.
type checker struct {
	*session
	summary  checkSummary
	reported map[breach]bool // of late: SCAN and ZSCAN may meet the same key twice
}

// mostReported bounds the memory of a check that finds a breach in each record.
const mostReported = 10_000

// whereabouts is where a walk meets a key.
type whereabouts int

const (
	amongRecords whereabouts = iota
	inOrder
	inExpiry
)

func (c *checker) run(ctx context.Context, report func(breach) error, looked func(int)) error {
	masters, err := c.nodes(ctx, true) // of all slots: other shards than these may be anywhere
	if err != nil {
		return err
	}
	walk := func(
		of string, page func(cursor uint64) *redis.ScanCmd, where whereabouts,
		placesOf func(found []string) ([]place, error),
	) error {
		for cursor, more := uint64(0), true; more; more = cursor != 0 {
			found, next, err := page(cursor).Result()
			if err != nil {
				return fmt.Errorf("walking %s: %w", of, err)
			}
			places, err := placesOf(found)
			if err != nil {
				return err
			}
			if err := c.judgeAll(ctx, places, where, report); err != nil {
				return err
			}
			looked(len(places))
			cursor = next
		}
		return nil
	}
	foreign, err := c.foreignIndexes(ctx, report)
	if err != nil {
		return err
	}
	pattern := c.shards.pattern()
	for _, master := range masters {
		scan := func(cursor uint64) *redis.ScanCmd { return master.Scan(ctx, cursor, pattern, snapshotRecords) }
		if err := walk(pattern, scan, amongRecords, c.placesOf(report)); err != nil {
			return err
		}
	}
	for _, tag := range c.shards.tags {
		for i, index := range []string{order(tag), expiry(tag)} {
			if foreign[index] {
				continue
			}
			where := []whereabouts{inOrder, inExpiry}[i]
			scan := func(cursor uint64) *redis.ScanCmd { return c.client.ZScan(ctx, index, cursor, "", snapshotRecords) }
			if err := walk(index, scan, where, placesIn(tag)); err != nil {
				return err
			}
		}
	}
	return nil
}

// foreignIndexes reports and returns what is in the place of an index and is none.
func (c *checker) foreignIndexes(ctx context.Context, report func(breach) error) (map[string]bool, error) {
	var kinds []*redis.StatusCmd
	_, err := c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, tag := range c.shards.tags {
			kinds = append(kinds, p.Type(ctx, order(tag)), p.Type(ctx, expiry(tag)))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("TYPE of the indexes: %w", err)
	}
	foreign := map[string]bool{}
	for i, kind := range kinds {
		if kind := kind.Val(); kind != "zset" && kind != "none" {
			tag := c.shards.tags[i/2]
			index := []string{order(tag), expiry(tag)}[i%2]
			foreign[index] = true
			found := breach{"foreign", tag, index, "it is not an index but a " + kind, foreignIndexRepair}
			if err := c.found(found, report); err != nil {
				return nil, err
			}
		}
	}
	return foreign, nil
}

// placesOf returns a function that tells of what SCAN gives where the records of
// these shards are, and reports what is in others.
func (c *checker) placesOf(report func(breach) error) func(names []string) ([]place, error) {
	own := map[string]bool{}
	for _, tag := range c.shards.tags {
		own[tag] = true
	}
	return func(names []string) (places []place, err error) {
		for _, name := range names {
			tag, rest, _ := strings.Cut(name, "}")
			tag += "}"
			encoded, isRecord := strings.CutPrefix(rest, ":")
			isIndex := name == order(tag) || name == expiry(tag)
			switch {
			case own[tag] && isRecord:
				places = append(places, place{tag, encoded})
			case !own[tag] && isRecord:
				err = c.found(c.shards.stray(tag, encoded), report)
			case !own[tag] && isIndex:
				err = c.found(c.shards.stray(tag, name), report)
			}
			if err != nil {
				return nil, err
			}
		}
		return places, nil
	}
}

// placesIn returns a function that tells of what ZSCAN gives, with the scores,
// which records of a shard it means.
func placesIn(tag string) func(found []string) ([]place, error) {
	return func(found []string) (places []place, _ error) {
		for i := 0; i < len(found); i += 2 {
			places = append(places, place{tag, found[i]})
		}
		return places, nil
	}
}

func (c *checker) judgeAll(
	ctx context.Context, places []place, where whereabouts, report func(breach) error,
) error {
	states, err := c.snapshot(ctx, places, indexes)
	if err != nil {
		return err
	}
	for _, st := range states {
		switch {
		case where == amongRecords && st.live:
			c.summary.Records++
		case where == inOrder && st.inOrder, where == inExpiry && st.inExpiry:
			c.summary.Entries++
			if !st.live {
				c.summary.Stale++
			}
		}
		breaches := c.judgeFrom(where, st)
		if st.loose && len(breaches) > 0 {
			// Somebody may have written between two answers: ask for this one alone.
			again, err := c.snapshot(ctx, []place{st.place}, indexes)
			if err != nil {
				return err
			}
			breaches = c.judgeFrom(where, again[0])
		}
		for _, b := range breaches {
			if err := c.found(b, report); err != nil {
				return err
			}
		}
	}
	return nil
}

// judgeFrom judges what is there where SCAN meets it, and index entries without a
// record where ZSCAN meets them: so that each walk has breaches of its own.
func (c *checker) judgeFrom(where whereabouts, st state) []breach {
	if st.live != (where == amongRecords) {
		return nil
	}
	if !st.live {
		st.inOrder, st.inExpiry = st.inOrder && where == inOrder, st.inExpiry && where == inExpiry
	}
	return c.shards.judge(st)
}

// found reports a breach, once.
func (c *checker) found(b breach, report func(breach) error) error {
	if c.reported[b] {
		return nil
	}
	if len(c.reported) == mostReported {
		clear(c.reported)
	}
	c.reported[b] = true
	c.summary.Breaches++
	return report(b)
}
