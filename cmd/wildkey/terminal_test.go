package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestTerminal has the tool take some of its streams for a terminal.
func TestTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		cache, err := wildkey.New(server.Client(t), wildkey.Options{Namespace: "app", TTL: wildkey.NoExpiry})
		must(t, err)
		in, out, errOut := 1, 2, 4
		for _, test := range []struct {
			name      string
			args      string
			input     string
			terminals int
			code      int
			output    string // what must be on standard output
			messages  string // what must be on standard error; "" is silence
		}{
			{"a value is made visible", "get odd", "", out, 0, `red\x1b[31m\xff` + "\n", ""},
			{"elsewhere it is not", "get odd", "", in | errOut, 0, "red\x1b[31m\xff", ""},
			{"rm asks, with the number", "rm gone", "y\n", in, 0, "deleted 1 record\n",
				"Delete 1 record of namespace app that match gone? [y/N] "},
			{"rm takes no for an answer", "rm odd", "n\n", in, exitFailure, "", "[y/N] wildkey: nothing was deleted"},
			{"and silence", "rm odd", "", in, exitFailure, "", "[y/N] wildkey: nothing was deleted"},
			{"rm does not ask for nothing", "rm none", "y\n", in, exitNothing, "", "wildkey: nothing matches none in namespace app on "},
			{"put says how to end a value", "put new --no-expiry", "v", in, 0, "put new, 1 B\n", "Ctrl-D"},
			{"and not to machines", "put new --no-expiry --json", "v", in, 0, `{"bytes":1,"key":"new"}` + "\n", ""},
			{"import has a bar", "import", `{"key":"a","value":"1","ttl":"never"}`, errOut, 0,
				"imported 1 record\n", "importing"},
			{"and none in a pipe", "import", `{"key":"a","value":"1","ttl":"never"}`, in | out, 0,
				"imported 1 record\n", ""},
			{"and none for machines", "import --json", `{"key":"a","value":"1","ttl":"never"}`, errOut, 0,
				`{"expired":0,"imported":1}` + "\n", ""},
			{"sweep has a bar", "sweep", "", errOut, 0,
				"cleared away 0 stale entries\n", "sweeping  0%"},
			{"reindex has a bar", "reindex", "", errOut, 0, "reindexed 3 records\n", "reindexing  0%"},
			{"check has a bar", "check", "", errOut, 0, "3 records, 3 index entries, 0 stale (0.0%): 0 breaches\n", "checking  0%"},
			{"touch has a bar", "touch a --no-expiry", "", errOut, 0, "touched 1 record\n", "touching  0%"},
			{"export has a bar", "export a", "", errOut, 0, `{"key":"a","value":"1","ttl":"never"}` + "\n", "exporting  0%"},
			{"but none among its records", "export a", "", out | errOut, 0,
				`{"key":"a","value":"1","ttl":"never"}` + "\n", ""},
			{"reshard asks, with the number", "reshard --to-shards 2", "n\n", in, exitFailure, "",
				"Move 3 records from {app} to {app#0/2/1}..{app#1/2/1}? [y/N] wildkey: nothing was moved"},
			{"and has a bar", "reshard --to-shards 2 --yes", "", errOut, 0,
				"moved 3 records from {app} to {app#0/2/1}..{app#1/2/1}\n", "moving"},
		} {
			t.Run(test.name, func(t *testing.T) {
				must(t, cache.Put(context.Background(),
					wildkey.Record{Key: wildkey.K("odd"), Value: []byte("red\x1b[31m\xff")},
					wildkey.Record{Key: wildkey.K("gone"), Value: []byte("v")}))
				if !strings.HasPrefix(test.args, "rm gone") {
					_, err := cache.Delete(context.Background(), wildkey.K("gone"))
					must(t, err)
				}
				var output, messages bytes.Buffer
				tool := newTool(strings.NewReader(test.input), &output, &messages)
				tool.isTerminal = func(stream any) bool {
					return stream == tool.in && test.terminals&in > 0 ||
						stream == tool.stdout && test.terminals&out > 0 ||
						stream == tool.errOut && test.terminals&errOut > 0
				}
				args := append(strings.Fields(test.args), "--url", "redis://"+server.Addr, "-n", "app")
				if code := tool.run(context.Background(), args); code != test.code {
					t.Errorf("exit code %d, want %d", code, test.code)
				}
				if output.String() != test.output {
					t.Errorf("output %q, want %q", output.String(), test.output)
				}
				if got := messages.String(); !strings.Contains(got, test.messages) || test.messages == "" && got != "" {
					t.Errorf("messages %q, want %q", got, test.messages)
				}
			})
		}
	})
}
