package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (t *tool) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export [PATTERN]",
		Short: "Write the records that match as NDJSON, which import reads",
		Long: `Write the records that match as NDJSON, which import reads. Each line is an
object:

  {"key":"user:42:session:abc","value":"laptop","expires_at":1767225600000}
  {"key":"user:42:photo","value_base64":"/9j/4A==","ttl":"never"}

It has the encoded key, the value, and the time when the record expires, in Unix
milliseconds by the clock of this machine. The value is in base64 if it is not
UTF-8, or if base64 is shorter. Each record and its TTL are from one moment, but
the whole file is not.`,
		Example: `  wildkey export 'user:**' | gzip > users.ndjson.gz`,
		RunE: t.on(reading, func(ctx context.Context, s *session, args []string) error {
			pattern, err := patternArgument(args)
			if err != nil {
				return err
			}
			// On a terminal the records show how far it is, and a bar would run into them.
			var progress progress
			if !t.isTerminal(t.stdout) && t.hasProgress() {
				total, err := s.cache.Count(ctx, pattern)
				if err != nil {
					return err
				}
				progress = t.progress("exporting", int64(total), inRecords)
				defer progress.end()
			}
			written := 0
			for record, err := range s.walk(ctx, pattern) {
				if err != nil {
					return partly{err, records(written) + " exported"}
				}
				if err := t.line(newLine(record, true)); err != nil {
					return err
				}
				written++
				progress.add(1)
			}
			return nil
		}),
	}
}
