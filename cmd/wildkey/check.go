package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// breach is a place where a namespace is not as Wildkey keeps it.
type breach struct {
	Kind   string `json:"breach"`
	Key    string `json:"key"` // quoted, where it is none
	Detail string `json:"detail"`
	Repair string `json:"repair"`
}

// checkSummary is what a check ends with.
type checkSummary struct {
	Records  int `json:"records"`
	Entries  int `json:"index_entries"`
	Stale    int `json:"stale_entries"`
	Breaches int `json:"breaches"`
}

const reindexRepairs = "wildkey reindex"

func (t *tool) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Walk a namespace and report every breach of the invariant, without writing",
		Long: `Walk a namespace and report every breach of the invariant, without writing:

  unlisted         a record is not in the order index: no pattern finds it
  no-expiry-entry  a record has a TTL and is not in the expiry index
  wrong-expiry     the expiry index has another millisecond than the record
  needless-expiry  a record never expires and is in the expiry index
  order-score      a score of the order index is not 0: pages may miss the key
  no-key           an index entry is no encoded key
  foreign          a Redis key in the place of a record is none

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
	reported map[breach]bool // SCAN and ZSCAN may meet the same key twice
}

// places are where a walk meets a key.
type place int

const (
	amongRecords place = iota
	inOrder
	inExpiry
)

func (c *checker) run(ctx context.Context, report func(breach) error, looked func(int)) error {
	home, err := c.home(ctx)
	if err != nil {
		return err
	}
	prefix := c.record("")
	for _, walk := range []struct {
		place place
		of    string
		page  func(cursor uint64) *redis.ScanCmd
	}{
		{amongRecords, prefix + "*", func(cursor uint64) *redis.ScanCmd {
			return home.Scan(ctx, cursor, prefix+"*", snapshotRecords)
		}},
		{inOrder, c.order(), func(cursor uint64) *redis.ScanCmd {
			return home.ZScan(ctx, c.order(), cursor, "", snapshotRecords)
		}},
		{inExpiry, c.expiry(), func(cursor uint64) *redis.ScanCmd {
			return home.ZScan(ctx, c.expiry(), cursor, "", snapshotRecords)
		}},
	} {
		for cursor, more := uint64(0), true; more; more = cursor != 0 {
			var page []string
			if page, cursor, err = walk.page(cursor).Result(); err != nil {
				return fmt.Errorf("walking %s: %w", walk.of, err)
			}
			var keys []string
			for i, name := range page {
				if walk.place == amongRecords {
					keys = append(keys, strings.TrimPrefix(name, prefix))
				} else if i%2 == 0 { // ZSCAN tells scores too
					keys = append(keys, name)
				}
			}
			if err := c.judgeAll(ctx, keys, walk.place, report); err != nil {
				return err
			}
			looked(len(keys))
		}
	}
	return nil
}

func (c *checker) judgeAll(ctx context.Context, keys []string, place place, report func(breach) error) error {
	states, _, err := c.snapshot(ctx, keys, indexes)
	if err != nil {
		return err
	}
	for _, st := range states {
		switch {
		case place == amongRecords && st.live:
			c.summary.Records++
		case place == inOrder && st.inOrder, place == inExpiry && st.inExpiry:
			c.summary.Entries++
			if !st.live {
				c.summary.Stale++
			}
		}
		for _, b := range c.judge(st) {
			if c.reported[b] {
				continue
			}
			c.reported[b] = true
			c.summary.Breaches++
			if err := report(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge returns what is wrong with a record and its index entries.
func (c *checker) judge(st state) (breaches []breach) {
	found := func(kind, repair, detail string, args ...any) {
		breaches = append(breaches, breach{kind, plain(st.encoded), fmt.Sprintf(detail, args...), repair})
	}
	const lookAtIt = "look at it, and delete or rename it"
	remove := func(index string) string { return fmt.Sprintf("ZREM %s %q", index, st.encoded) }
	if _, err := wildkey.ParseKey(st.encoded); err != nil {
		if st.live {
			found("foreign", lookAtIt, "%s has no encoded key in its name", plain(c.record(st.encoded)))
		}
		if st.inOrder {
			found("no-key", remove(c.order()), "it is in the order index and no encoded key")
		}
		if st.inExpiry {
			found("no-key", remove(c.expiry()), "it is in the expiry index and no encoded key")
		}
		return breaches
	}
	if st.live && st.kind != "string" {
		found("foreign", lookAtIt, "%s is a %s", c.record(st.encoded), st.kind)
		return breaches
	}
	if st.inOrder && st.orderScore != 0 {
		repair := reindexRepairs
		if !st.live {
			repair = remove(c.order())
		}
		found("order-score", repair, "its score in the order index is %v, not 0", st.orderScore)
	}
	if !st.live {
		return breaches
	}
	if !st.inOrder {
		found("unlisted", reindexRepairs, "it is not in the order index")
	}
	switch {
	case st.expires == 0 && st.inExpiry:
		found("needless-expiry", reindexRepairs, "it never expires, and the expiry index has %.0f", st.expiresByScore)
	case st.expires != 0 && !st.inExpiry:
		found("no-expiry-entry", reindexRepairs, "it expires at %d, and is not in the expiry index", st.expires)
	case st.expiresByScore < float64(st.expires) || st.expiresByScore > float64(st.expires+st.blur):
		found("wrong-expiry", reindexRepairs, "it expires at %d, and the expiry index has %.0f",
			st.expires, st.expiresByScore)
	}
	return breaches
}
