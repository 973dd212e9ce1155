package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

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
them: one JSON object a line, with

  key           encoded, "user:42", or a list of segments, ["user", "42"]
  value         text, or value_base64, any bytes
  expires_at    Unix milliseconds, by the clock of this machine;
                or ttl, milliseconds from now, or "never"

A record that names neither has the TTL of --ttl or --no-expiry. One that has
expired meanwhile is left out. A record that is there already is written over.
The first line that is wrong ends the import; those before it are written.
What comes slowly is written as it comes: tail -f can be imported.

` + voidsHelp,
		Example: `  wildkey import users.ndjson
  zcat users.ndjson.gz | wildkey import`,
		Args: cobra.MaximumNArgs(1),
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
			err := i.add(line.text)
			switch {
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

// add takes the record of a line, if it has one, into the batch.
func (i *importer) add(text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	record, err := parseLine(text, i.fallback)
	if err == nil {
		err = checkKey(record.Key)
	}
	if err != nil {
		return err
	}
	if len(i.batch) == 0 {
		i.due = time.After(importWait)
	}
	i.batch = append(i.batch, record)
	i.bytes += len(record.Value)
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
	shards := map[int][]wildkey.Record{}
	for _, record := range batch {
		if !record.ready(now) {
			i.expired++
			continue
		}
		shard := i.layout.Shard(record.Key)
		shards[shard] = append(shards[shard], record.Record)
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
			written, err := i.putOnShard(ctx, records)
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
func (i *importer) putOnShard(ctx context.Context, records []wildkey.Record) (written int, err error) {
	for len(records) > 0 {
		n, bytes, met := 0, 0, map[string]bool{}
		for _, record := range records[:min(len(records), i.cache.Options().CallRecords/2)] {
			key := record.Key.String()
			bytes += len(key) + len(record.Value)
			if met[key] || n > 0 && bytes > i.cache.Options().CallBytes {
				break
			}
			met[key] = true
			n++
		}
		if err := i.voids.Put(ctx, records[:n]...); err != nil {
			return written, err
		}
		written, records = written+n, records[n:]
	}
	return written, nil
}

// checkKey finds out about a key before others are put with it.
func checkKey(key wildkey.Key) error {
	if len(key) == 0 {
		return fmt.Errorf("%w: it has no segment", wildkey.ErrInvalidKey)
	}
	_, err := wildkey.ParseKey(key.String())
	return err
}
