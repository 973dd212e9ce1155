package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

func (t *tool) putCommand() *cobra.Command {
	var live ttl
	command := &cobra.Command{
		Use:   "put KEY (--ttl DURATION | --no-expiry)",
		Short: "Write a record, with the value on standard input",
		Long: `Write a record, with the value on standard input, byte for byte.

` + voidsHelp,
		Example: `  printf laptop | wildkey put user:42:session:abc --ttl 24h
  wildkey put config:logo --no-expiry < logo.png`,
		DisableFlagsInUseLine: true,
	}
	live.flags(command)
	command.MarkFlagsOneRequired("ttl", "no-expiry")
	command.RunE = t.on(writing, func(ctx context.Context, s *session, args []string) error {
		key, err := wildkey.ParseKey(args[0])
		if err != nil {
			return usageError(err)
		}
		if t.isTerminal(t.in) {
			t.note("The value, to be ended by Ctrl-D at the start of a line:")
		}
		value, err := io.ReadAll(t.input(ctx))
		if err != nil {
			return err
		}
		if err := s.voids.Put(ctx, wildkey.Record{Key: key, Value: value, TTL: time.Duration(live)}); err != nil {
			return err
		}
		return t.result(map[string]any{"key": lineKey(key), "bytes": len(value)}, "put %s, %s", key, size(int64(len(value))))
	})
	return command
}
