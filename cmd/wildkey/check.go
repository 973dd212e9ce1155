package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// checkSummary is what a check ends with.
type checkSummary struct {
	Records  int `json:"records"`
	Leases   int `json:"leases"`
	Entries  int `json:"index_entries"`
	Stale    int `json:"stale_entries"`
	Breaches int `json:"breaches"`
}

func (t *tool) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Find what is wrong with records and indexes, and print repairs",
		Long: `Look at every record and index entry of a namespace. Report each breach and its
repair, and write nothing:

  unlisted      a record is not in the index: no pattern finds it
  wrong-shard   a record is not in the shard of its key: get does not find it
  other-shards  the namespace has Redis keys outside of the shards in use
  score         a score in the index is not 0: pages may miss the key
  no-key        an index entry is not an encoded key
  foreign       a Redis key has the name of a record or an index, but is neither

An index entry without a record is stale, which is not a breach. check counts
stale entries. Puts of new records remove them, and so does wildkey sweep.

check counts the leases of package fetch separately and reports the same
breaches for them. Their names begin with a ! before the key.

check judges each record by one snapshot of the record and its index entry, so
it reports no breach because of writes at the same time.`,
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			// A walk of the records, and one of their index entries.
			progress := t.progress("checking", 2*t.total(ctx, s), inEntries)
			check := checker{session: s, reported: map[breach]bool{}, looked: progress.add, report: func(b breach) error {
				progress.end()
				return t.writeBreach(b)
			}}
			err := check.run(ctx)
			progress.end()
			if err != nil {
				return err
			}
			sum := check.summary
			breaches := counted(sum.Breaches, "breach", "breaches")
			if sum.Breaches > 0 {
				breaches = t.styled(t.stdout, alarm, breaches)
			}
			err = t.result(sum, "%s%s, %s, %s stale (%s): %s", records(sum.Records), andLeases(sum.Leases),
				counted(sum.Entries, "index entry", "index entries"), number(sum.Stale),
				percent(float64(sum.Stale)/float64(max(1, sum.Entries))), breaches)
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
	const indent = 14
	kind := t.styled(t.stdout, alarm, b.Kind) + strings.Repeat(" ", max(0, indent-2-len(b.Kind)))
	width := t.width(t.stdout)
	line := fmt.Sprintf("%s  %s; repair: %s", b.Key, b.Detail, b.Repair)
	if uniseg.StringWidth(line) <= width-indent {
		fmt.Fprintf(t.out, "%s  %s\n", kind, line)
	} else {
		// A key and a command stay whole, for who copies them.
		under := strings.Repeat(" ", indent)
		if command, _, _ := strings.Cut(b.Repair, " "); command == "redis-cli" || command == "wildkey" {
			width = math.MaxInt
		}
		repair := hanging(under, indent, "-> ", b.Repair, width)
		fmt.Fprintf(t.out, "%s  %s\n%s%s", kind, b.Key, hanging(under, indent, "", b.Detail, t.width(t.stdout)), repair)
	}
	return t.out.Flush()
}

// checker walks the records, and then the indexes.
type checker struct {
	*session
	report   func(breach) error
	looked   func(int) // at so many more
	summary  checkSummary
	reported map[breach]bool // of late: SCAN and ZSCAN may meet the same key twice
	strays   []wildkey.Options
}

// mostReported bounds the memory of a check that finds a breach in each record.
const mostReported = 10_000

// checkBatch is how many records are asked after at a time.
const checkBatch = 500

func (c *checker) run(ctx context.Context) error {
	masters, err := c.nodes(ctx, true) // of all slots: other shards than these may be anywhere
	if err != nil {
		return err
	}
	foreign, err := c.foreignIndexes(ctx)
	if err != nil {
		return err
	}
	for _, master := range masters {
		err := c.walk("the keyspace of "+master.address, func(cursor uint64) *redis.ScanCmd {
			return master.Scan(ctx, cursor, c.layout.Glob(), checkBatch)
		}, func(names []string) error { return c.checkNames(ctx, names) })
		if err != nil {
			return err
		}
	}
	for shard := range c.layout.Shards() {
		if foreign[shard] {
			continue
		}
		index := c.layout.Index(shard)
		err := c.walk(index, func(cursor uint64) *redis.ScanCmd {
			return c.client.ZScan(ctx, index, cursor, "", checkBatch)
		}, func(entries []string) error { return c.checkEntries(ctx, shard, entries) })
		if err != nil {
			return err
		}
	}
	return nil
}

// walk hands on what each page of a SCAN or ZSCAN has.
func (c *checker) walk(of string, page func(cursor uint64) *redis.ScanCmd, check func(found []string) error) error {
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		found, next, err := page(cursor).Result()
		if err != nil {
			return fmt.Errorf("walking %s: %w", of, err)
		}
		if err := check(found); err != nil {
			return err
		}
		cursor = next
	}
	return nil
}

// foreignIndexes reports and returns the shards with something else in the place
// of their index.
func (c *checker) foreignIndexes(ctx context.Context) (map[int]bool, error) {
	kinds := make([]*redis.StatusCmd, c.layout.Shards())
	_, err := c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for shard := range kinds {
			kinds[shard] = p.Type(ctx, c.layout.Index(shard))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("TYPE of the indexes: %w", err)
	}
	foreign := map[int]bool{}
	for shard, kind := range kinds {
		if kind := kind.Val(); kind != "zset" && kind != "none" {
			foreign[shard] = true
			detail := "it is not an index but a " + kind
			err := c.found(breach{"foreign", c.layout.Tag(shard), c.layout.Index(shard), detail, foreignIndexRepair})
			if err != nil {
				return nil, err
			}
		}
	}
	return foreign, nil
}

// checkNames checks the Redis keys that SCAN gives.
func (c *checker) checkNames(ctx context.Context, names []string) error {
	encoded := map[int][]string{} // keys of the records, and names of leases, by their shard
	for _, name := range names {
		options, shard, ok := parseTag(name)
		if !ok {
			continue // it is another program's
		}
		if shard >= c.layout.Shards() || !strings.HasPrefix(name, c.layout.Tag(shard)) {
			if err := c.stray(options); err != nil {
				return err
			}
			continue
		}
		text, isRecord := strings.CutPrefix(name, c.layout.Prefix(shard))
		if !isRecord {
			continue
		}
		if b, ok := recordBreach(c.layout, shard, text); ok {
			if err := c.found(b); err != nil {
				return err
			}
			continue
		}
		encoded[shard] = append(encoded[shard], text)
	}
	for _, shard := range slices.Sorted(maps.Keys(encoded)) {
		if err := c.checkRecords(ctx, shard, encoded[shard]); err != nil {
			return err
		}
	}
	c.looked(len(names))
	return nil
}

// stray reports other shards of the namespace, once for each number of them.
func (c *checker) stray(options wildkey.Options) error {
	if slices.Contains(c.strays, options) {
		return nil
	}
	c.strays = append(c.strays, options)
	other, err := wildkey.NewLayout(options.Namespace, options.Shards, options.ShardSegments)
	if err != nil {
		return err
	}
	detail := "the namespace has Redis keys here, outside of " + spread(c.layout)
	return c.found(breach{"other-shards", other.Tag(0), spread(other), detail, strayRepair})
}

func (c *checker) checkRecords(ctx context.Context, shard int, encoded []string) error {
	states, loose, err := c.look(ctx, shard, encoded)
	if err != nil {
		return err
	}
	for i, st := range states {
		if st.kind == "string" && !st.listed && loose {
			// Somebody may have written between two answers: ask for this one alone.
			again, _, err := c.look(ctx, shard, encoded[i:i+1])
			if err != nil {
				return err
			}
			st = again[0]
		}
		b := breach{Tag: c.layout.Tag(shard), Key: encoded[i]}
		switch {
		case st.kind == "none":
			continue
		case st.kind != "string":
			b.Kind, b.Repair = "foreign", foreignRepair
			b.Detail = fmt.Sprintf("%s is a %s", c.layout.Prefix(shard)+encoded[i], st.kind)
		case !st.listed:
			c.count(encoded[i])
			b.Kind, b.Repair = "unlisted", reindexRepairs
			b.Detail = "it is not in the index"
		default:
			c.count(encoded[i])
			continue
		}
		if err := c.found(b); err != nil {
			return err
		}
	}
	return nil
}

// count counts a live record, or a live lease.
func (c *checker) count(text string) {
	if isLease(text) {
		c.summary.Leases++
	} else {
		c.summary.Records++
	}
}

// state is what the server holds of a record.
type state struct {
	kind   string // a Redis type, or none
	listed bool   // in the index, or a foreign key is in the place of that
}

// look returns the states of records of one shard, all of one moment: nothing else
// is done on its server between the commands. A server whose memory is full queues
// nothing for that, and while a slot moves its keys are on two servers: then the
// states are loose, and others may have written meanwhile.
func (s *session) look(ctx context.Context, shard int, encoded []string) (states []state, loose bool, err error) {
	kinds, scores := make([]*redis.StatusCmd, len(encoded)), make([]*redis.FloatCmd, len(encoded))
	ask := func(p redis.Pipeliner) error {
		for i, key := range encoded {
			kinds[i] = p.Type(ctx, s.layout.Prefix(shard)+key)
			scores[i] = p.ZScore(ctx, s.layout.Index(shard), key)
		}
		return nil
	}
	node, err := s.nodeOf(ctx, s.layout.Tag(shard))
	if err != nil {
		return nil, false, err
	}
	node.TxPipelined(ctx, ask) // its error is that of a command
	// A key that is on its way fails EXEC: with ASK, MOVED, TRYAGAIN or EXECABORT, by the version of the server. TYPE
	// itself fails only if EXEC does.
	var refused redis.Error
	if loose = len(kinds) > 0 && errors.As(kinds[0].Err(), &refused); loose {
		s.client.Pipelined(ctx, ask) // the client follows each key to where it is; errors are below
	}
	for i := range encoded {
		score, kind := scores[i].Err(), kinds[i].Err()
		if score == redis.Nil || redis.HasErrorPrefix(score, "WRONGTYPE") {
			score = nil
		}
		if err := cmp.Or(kind, score); err != nil {
			return nil, false, fmt.Errorf("reading records: %w", err)
		}
		states = append(states, state{kinds[i].Val(), scores[i].Err() != redis.Nil})
	}
	return states, loose, nil
}

// checkEntries checks the members, and their scores, that ZSCAN gives.
func (c *checker) checkEntries(ctx context.Context, shard int, entries []string) error {
	var exist []*redis.IntCmd
	_, err := c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for entry := range slices.Chunk(entries, 2) {
			exist = append(exist, p.Exists(ctx, c.layout.Prefix(shard)+entry[0]))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("EXISTS of records: %w", err)
	}
	for i, exists := range exist {
		stale := exists.Val() == 0
		if c.summary.Entries++; stale {
			c.summary.Stale++
		}
		score, err := strconv.ParseFloat(entries[2*i+1], 64)
		if err != nil {
			return fmt.Errorf("ZSCAN: %w", err)
		}
		if b, ok := entryBreach(c.layout, shard, entries[2*i], score, stale); ok {
			if err := c.found(b); err != nil {
				return err
			}
		}
	}
	c.looked(len(exist))
	return nil
}

// found reports a breach, once.
func (c *checker) found(b breach) error {
	if c.reported[b] {
		return nil
	}
	if len(c.reported) == mostReported {
		clear(c.reported)
	}
	c.reported[b] = true
	c.summary.Breaches++
	return c.report(b)
}
