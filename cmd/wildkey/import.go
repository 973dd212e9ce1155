package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// As many lines as these bounds allow are written at a time, in calls of put.lua for
// one shard each, and none waits for long until others have come; a line is no longer
// than the longest string of Redis, in base64.
const (
	importRecords = 250 // for each shard, of up to importShards
	importShards  = 16
	importBytes   = 1 << 20
	importLine    = 700 << 20
	importWait    = 100 * time.Millisecond
)

func (t *tool) importCommand() *cobra.Command {
	var fallback ttl
	command := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Write the records of an NDJSON file, or of standard input",
		Long: `Write the records of an NDJSON file, or of standard input, as export writes
them. Each line is a JSON object with

  key           encoded, "user:42", or a list of segments, ["user", "42"],
                each of them text or an integer
  value         text; or value_base64, any bytes in standard base64
  expires_at    Unix milliseconds, by the clock of this machine;
                or ttl, milliseconds from now, or "never"

A record with neither expires_at nor ttl gets --ttl or --no-expiry. import
leaves out records that have expired meanwhile, and overwrites records that
exist.

import takes a line exactly, or refuses it. The first wrong line ends the
import, and the lines before it are written. The input is UTF-8. import skips a
byte order mark, and writes slow input as it comes, such as that of tail -f.

` + voidsHelp,
		Example: `  wildkey import users.ndjson
  zcat users.ndjson.gz | wildkey import`,
	}
	fallback.flags(command)
	command.RunE = t.on(writing, func(ctx context.Context, s *session, args []string) error {
		in, bytes := t.in, int64(unknown)
		if len(args) == 1 {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			if about, err := file.Stat(); err == nil && about.Mode().IsRegular() {
				bytes = about.Size()
			}
			in = file
		}
		run := importer{session: s, fallback: time.Duration(fallback), progress: t.progress("importing", bytes, inBytes)}
		err := run.lines(ctx, in)
		run.progress.end()
		if err != nil {
			return partly{err, records(run.written) + " written"}
		}
		sentence := fmt.Sprintf("imported %s", records(run.written))
		if run.expired > 0 {
			sentence += fmt.Sprintf("; left out %s, expired", records(run.expired))
		}
		return t.result(map[string]int{"imported": run.written, "expired": run.expired}, "%s", sentence)
	})
	return command
}

// importer collects records and puts them, many at a time.
type importer struct {
	*session
	fallback         time.Duration
	progress         progress
	batch            []incoming
	bytes            int
	due              <-chan time.Time // when the batch has waited long enough
	written, expired int
}

// lines writes all records up to the first line that is wrong.
func (i *importer) lines(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := readLines(ctx, in, importLine)
	for number := 1; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-i.due:
			if err := i.put(ctx); err != nil {
				return err
			}
		case line := <-lines:
			i.progress.add(len(line.text))
			err := cmp.Or(formatError(line.text, number), i.add(line.text))
			switch {
			case line.err == bufio.ErrTooLong:
				err = fmt.Errorf("line %d is longer than %s, and no record is", number, size(importLine))
			case err != nil:
				err = fmt.Errorf("line %d: %w", number, err)
			case line.err == io.EOF:
				return i.put(ctx)
			case line.err != nil:
				err = fmt.Errorf("reading the input: %w", line.err)
			}
			// What was read before it is written, as when it had come in two files.
			if err != nil || i.full() {
				if errPut := i.put(ctx); errPut != nil {
					return errPut
				}
			}
			if err != nil {
				return err
			}
			number++
		}
	}
}

// formatError names the format of an input that is not lines of UTF-8, by the first of
// them.
func formatError(text []byte, number int) error {
	has := func(start string) bool { return number == 1 && bytes.HasPrefix(text, []byte(start)) }
	switch {
	case has("\x1f\x8b"):
		return errors.New("the input is compressed by gzip: zcat FILE | wildkey import")
	case has("\xff\xfe"), has("\xfe\xff"), has("{\x00"), has("\x00{"):
		return errors.New("the input is UTF-16: iconv -f UTF-16 -t UTF-8 FILE | wildkey import")
	}
	return nil
}

// add takes the record of a line, if it has one, into the batch.
func (i *importer) add(text []byte) error {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	record, err := parseLine(text, i.fallback)
	if err != nil {
		return err
	}
	if len(i.batch) == 0 {
		i.due = time.After(importWait)
	}
	i.batch = append(i.batch, record)
	i.bytes += len(record.value)
	return nil
}

func (i *importer) full() bool {
	return len(i.batch) == importRecords*min(i.layout.Shards(), importShards) || i.bytes >= importBytes
}

// put writes the batch, but for what has expired while it was read.
func (i *importer) put(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	now, batch := time.Now(), i.batch
	i.batch, i.bytes, i.due = nil, 0, nil
	shards := map[int][]incoming{}
	for _, record := range batch {
		if record.left(now) == 0 {
			i.expired++
			continue
		}
		shard := i.layout.Shard(record.key)
		shards[shard] = append(shards[shard], record)
	}
	var mu sync.Mutex
	var first error
	var calls sync.WaitGroup
	turns := make(chan struct{}, importShards)
	for _, records := range shards {
		turns <- struct{}{}
		calls.Add(1)
		go func() {
			defer func() { <-turns; calls.Done() }()
			written, err := i.putOnShard(ctx, records, now)
			mu.Lock()
			defer mu.Unlock()
			i.written, first = i.written+written, cmp.Or(first, err)
		}()
	}
	calls.Wait()
	return first
}

// putOnShard writes records of one shard in their order, and returns how many. Each call
// voids the leases of its records too, and names no key twice.
func (i *importer) putOnShard(ctx context.Context, records []incoming, now time.Time) (written int, err error) {
	for len(records) > 0 {
		if records[0].left(now) > wildkey.MaxTTL.Milliseconds() {
			if err := i.putLong(ctx, records[0], now); err != nil {
				return written, err
			}
			written, records = written+1, records[1:]
			continue
		}
		var call []wildkey.Record
		bytes, met := 0, map[string]bool{}
		for _, record := range records[:min(len(records), i.cache.Options().CallRecords/2)] {
			name, left := record.key.String(), record.left(now)
			bytes += len(name) + len(record.value)
			if met[name] || len(call) > 0 && bytes > i.cache.Options().CallBytes || left > wildkey.MaxTTL.Milliseconds() {
				break
			}
			met[name] = true
			ttl := time.Duration(left) * time.Millisecond
			if left == ttlNever {
				ttl = wildkey.NoExpiry
			}
			call = append(call, wildkey.Record{Key: record.key, Value: record.value, TTL: ttl})
		}
		if err := i.voids.Put(ctx, call...); err != nil {
			return written, err
		}
		written, records = written+len(call), records[len(call):]
	}
	return written, nil
}

// putLong writes a record that has more to live than a wildkey.Record holds, and voids
// its lease.
func (i *importer) putLong(ctx context.Context, record incoming, now time.Time) error {
	shard, encoded := i.layout.Shard(record.key), record.key.String()
	keys := []string{i.layout.Index(shard), i.layout.Prefix(shard) + encoded, i.layout.Prefix(shard) + "!" + encoded}
	scripts := wildkey.Scripts()
	script := scripts[slices.IndexFunc(scripts, func(s wildkey.Script) bool { return s.Name == "put" })]
	put := func() error {
		return i.client.EvalSha(ctx, script.SHA1, keys, record.left(now), "*", record.value, "delete", "*", "").Err()
	}
	err := put()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		if err = i.cache.Load(ctx); err == nil {
			err = put()
		}
	}
	return err
}
