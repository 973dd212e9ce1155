package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

func (t *tool) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get KEY",
		Short: "Write the value of a record: to a terminal as text, elsewhere byte for byte",
		Args:  cobra.ExactArgs(1),
		RunE: t.on(reading, func(ctx context.Context, s *session, args []string) error {
			key, err := wildkey.ParseKey(args[0])
			if err != nil {
				return usageError(err)
			}
			states, err := s.snapshot(ctx, []place{{s.shards.of(key), key.String()}}, values)
			if err != nil {
				return err
			}
			record := states[0]
			if record.foreign {
				kind, err := s.client.Type(ctx, record.name()).Result()
				if err != nil {
					return fmt.Errorf("TYPE %s: %w", record.name(), err)
				}
				return outcome{exitNothing, fmt.Errorf("there is no record %s: %s is foreign, a %s", key, record.name(), kind)}
			}
			if !record.live {
				return outcome{exitNothing, fmt.Errorf("there is no record %s", key)}
			}
			switch {
			case t.json:
				l, err := newLine(record, true)
				if err != nil {
					return err
				}
				return t.line(l)
			case t.isTerminal(t.stdout):
				_, err = fmt.Fprintln(t.out, visible(string(record.value)))
			default:
				_, err = t.out.Write(record.value)
			}
			return err
		}),
	}
}
