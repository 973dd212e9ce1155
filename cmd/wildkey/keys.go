package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

func (t *tool) encodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "encode SEGMENT...",
		Short: "Join segments to an encoded key",
		Long: `Join segments of any bytes to a key, encoded as the other commands take it.
encode asks no server. After --, a segment may begin with a hyphen.`,
		Example: `  wildkey encode user 42 e-mail ann@example.com
  wildkey get "$(wildkey encode user "$NAME")"`,
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, segments []string) error {
			key := wildkey.Key(segments).String()
			if _, err := wildkey.ParseKey(key); err != nil {
				return usageError(err)
			}
			return t.result(map[string]string{"key": key}, "%s", key)
		},
	}
}

func (t *tool) decodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "decode KEY",
		Short: "Split a key into its segments",
		Long: `Split a key into its segments, one a line. A segment with control characters is
in quotes, with escapes. decode asks no server. With --json the segments are a
list, which import takes as a key.`,
		Example: `  wildkey decode user:42:e-mail:ann%40example.com`,
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := wildkey.ParseKey(args[0])
			if err != nil {
				return usageError(err)
			}
			shown := make([]string, len(key))
			for i, segment := range key {
				if t.json && !utf8.ValidString(segment) {
					t.started = true
					return fmt.Errorf("segment %d, %s, is not UTF-8, and JSON cannot hold it", i+1, plain(segment))
				}
				shown[i] = plain(segment)
			}
			return t.result(map[string][]string{"key": key}, "%s", strings.Join(shown, "\n"))
		},
	}
}
