package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

func (t *tool) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get KEY",
		Short: "Write the value of a record",
		Long:  "Write the value of a record: as text to a terminal, else byte for byte.",
		RunE: t.on(reading, func(ctx context.Context, s *session, args []string) error {
			key, err := wildkey.ParseKey(args[0])
			if err != nil {
				return usageError(err)
			}
			value, err := s.cache.Get(ctx, key)
			var left time.Duration
			if err == nil && t.json {
				left, err = s.cache.TTL(ctx, key)
			}
			switch {
			case redis.HasErrorPrefix(err, "WRONGTYPE"):
				return s.foreign(ctx, key)
			case errors.Is(err, wildkey.ErrNotFound):
				return noRecord(key)
			case err != nil:
				return err
			case t.json:
				found := record{Entry: wildkey.Entry{Key: key, Value: value, TTL: left}, at: time.Now()}
				if left == wildkey.MaxTTL {
					if found, err = s.lookAgain(ctx, found); err != nil {
						return err
					}
				}
				return t.line(newLine(found, true))
			case t.isTerminal(t.stdout):
				_, err = fmt.Fprintln(t.out, visible(string(value)))
			default:
				_, err = t.out.Write(value)
			}
			return err
		}),
	}
}

// foreign returns an error that says what is in the place of a record.
func (s *session) foreign(ctx context.Context, key wildkey.Key) error {
	name, err := s.layout.Record(key)
	if err != nil {
		return err
	}
	kind, err := s.client.Type(ctx, name).Result()
	if err != nil {
		return fmt.Errorf("TYPE %s: %w", name, err)
	}
	return outcome{exitNothing, fmt.Errorf("there is no record %s: %s is foreign, a %s", key, name, kind)}
}
