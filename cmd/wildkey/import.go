package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// As many lines as these bounds allow are written at a time, in a call of put.lua
// for each shard; a line is no longer than the longest string of Redis, in base64.
const (
	importRecords = 250 // for each shard, of up to importShards
	importShards  = 16
	importBytes   = 1 << 20
	importLine    = 700 << 20
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
  expires_at    Unix milliseconds, or ttl, milliseconds from now, 0 for never

A record that names neither has the TTL of --ttl or --no-expiry. One that has
expired meanwhile is left out. A record that is there already is written over.
The first line that is wrong ends the import; those before it are written.`,
		Example: `  wildkey import users.ndjson
  zcat users.ndjson.gz | wildkey import`,
		Args: cobra.MaximumNArgs(1),
	}
	fallback.flags(command)
	command.RunE = t.on(writing, func(ctx context.Context, s *session, args []string) error {
		in, bytes := t.input(ctx), int64(unknown)
		if len(args) == 1 {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			if about, err := file.Stat(); err == nil && about.Mode().IsRegular() {
				bytes = about.Size()
			}
			in = interruptible(ctx, file) // it may be a pipe
		}
		now, err := s.client.Time(ctx).Result()
		if err != nil {
			return fmt.Errorf("TIME: %w", err)
		}
		run := importer{session: s, fallback: time.Duration(fallback), ahead: time.Until(now)}
		progress := t.progress("importing", bytes, inBytes)
		err = run.lines(ctx, io.TeeReader(in, progress))
		progress.end()
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
	ahead            time.Duration // the server's clock, before ours
	batch            []wildkey.Record
	bytes            int
	written, expired int
}

// lines writes all records up to the first line that is wrong.
func (i *importer) lines(ctx context.Context, in io.Reader) error {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, importLine)
	for number := 1; scanner.Scan(); number++ {
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		record, err := parseLine(scanner.Bytes(), time.Now().Add(i.ahead), i.fallback)
		if errors.Is(err, errExpired) {
			i.expired++
			continue
		}
		if err == nil {
			err = checkKey(record.Key)
		}
		if err != nil {
			// What was read before it is written, as when it had come in two files.
			if errPut := i.put(ctx); errPut != nil {
				return errPut
			}
			return fmt.Errorf("line %d: %w", number, err)
		}
		i.batch = append(i.batch, record)
		i.bytes += len(record.Value)
		if len(i.batch) == importRecords*min(len(i.shards.tags), importShards) || i.bytes >= importBytes {
			if err := i.put(ctx); err != nil {
				return err
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("reading the input: %w", err)
	}
	return i.put(ctx)
}

func (i *importer) put(ctx context.Context) error {
	written, err := i.cache.PutEach(ctx, slices.Values(i.batch), nil)
	i.written += written
	i.batch, i.bytes = nil, 0
	return err
}

// checkKey finds out about a key before others are put with it.
func checkKey(key wildkey.Key) error {
	if len(key) == 0 {
		return fmt.Errorf("%w: it has no segment", wildkey.ErrInvalidKey)
	}
	_, err := wildkey.ParseKey(key.String())
	return err
}
