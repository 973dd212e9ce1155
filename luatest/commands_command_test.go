package luatest

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestCommandAgainstServer compares what COMMAND says of each command.
func TestCommandAgainstServer(t *testing.T) {
	e := New()
	names := e.Do("COMMAND", "LIST").([]any)
	known := []string{"movablekeys"}
	for _, f := range flagNames {
		known = append(known, string(f.name))
	}
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		if server.Program.Minor() != "redis-7.0" {
			t.Skip("the table is that of Redis 7.0")
		}
		client := server.Client(t)
		for _, name := range names {
			reply, err := client.Do(context.Background(), "COMMAND", "INFO", name).Slice()
			if err != nil {
				t.Fatal(err)
			}
			want := reply[0].([]any)
			want[2] = slices.DeleteFunc(want[2].([]any), func(flag any) bool { return !slices.Contains(known, flag.(string)) })
			got := e.Do("COMMAND", "INFO", name.(string)).([]any)[0].([]any)
			if len(got) != len(want) {
				t.Errorf("%s: %d fields, want %d", name, len(got), len(want))
			}
			if diff := cmp.Diff(want[:7], texts(got[:7])); diff != "" {
				t.Errorf("%s: (-server +engine)\n%s", name, diff)
			}
		}
	})
}

// texts is a reply with its statuses as strings.
func texts(reply []any) []any {
	all := make([]any, len(reply))
	for i, item := range reply {
		switch item := item.(type) {
		case Status:
			all[i] = string(item)
		case []any:
			all[i] = texts(item)
		default:
			all[i] = item
		}
	}
	return all
}

// A client reads the commands as those of a server.
func TestClientReadsCommands(t *testing.T) {
	e := New()
	client := e.Client()
	defer client.Close()
	ctx := context.Background()
	infos, err := client.Command(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(commands)), slices.Sorted(maps.Keys(infos))); diff != "" {
		t.Errorf("COMMAND: (-table +client)\n%s", diff)
	}
	if get := infos["get"]; get.Arity != 2 || get.FirstKeyPos != 1 || !get.ReadOnly {
		t.Errorf("GET is %+v", get)
	}
	keys, err := client.CommandGetKeys(ctx, "ZUNIONSTORE", "d", "2", "a", "b").Result()
	if diff := cmp.Diff([]string{"d", "a", "b"}, keys); err != nil || diff != "" {
		t.Errorf("COMMAND GETKEYS: %v (-want +got)\n%s", err, diff)
	}
	expect(t, e, int64(len(commands)), "COMMAND", "COUNT")
	expect(t, e, []any{}, "COMMAND", "DOCS", "get")
	expect(t, e, []any{nil}, "COMMAND", "INFO", "lolwut")
	expect(t, e, Error("ERR luatest: the command LOLWUT of Redis is not modelled"), "COMMAND", "GETKEYS", "LOLWUT", "x")
	if all := e.Do("COMMAND", "INFO").([]any); len(all) != len(commands) {
		t.Errorf("COMMAND INFO has %d commands, want %d", len(all), len(commands))
	}
}
