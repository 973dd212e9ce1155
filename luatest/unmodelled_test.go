package luatest

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// A command of Redis that is not modelled is told from one that Redis has not,
// wherever its name may stand.
func TestNotModelled(t *testing.T) {
	const (
		unknown Error = "ERR Unknown Redis command called from script"
		invalid Error = "ERR Invalid command passed to redis.acl_check_cmd()"
		lolwut  Error = "ERR luatest: the command LOLWUT of Redis is not modelled"
		doctor  Error = "ERR luatest: the command LATENCY DOCTOR of Redis is not modelled"
		kill    Error = "ERR luatest: the command SCRIPT KILL of Redis is not modelled"
		latency Error = "ERR luatest: the command LATENCY of Redis is not modelled"
	)
	const pcall, check = "return redis.pcall(unpack(ARGV))", "return {redis.pcall(unpack(ARGV))}"
	const mayRun = "local ok, e = pcall(redis.acl_check_cmd, unpack(ARGV)) return e"
	for _, test := range []struct {
		args []string
		want any
	}{
		{[]string{"lolwut"}, lolwut},
		{[]string{"LOLWUT", "VERSION", "5"}, lolwut},
		{[]string{"LOLWAT", "VERSION"}, Error("ERR unknown command 'LOLWAT', with args beginning with: 'VERSION' ")},
		{[]string{"Latency", "Doctor"}, doctor},
		{[]string{"LATENCY", "NURSE"}, latency},
		{[]string{"SCRIPT", "KILL"}, kill},
		{[]string{"SCRIPT", "SPARE"}, Error("ERR unknown subcommand 'SPARE'. Try SCRIPT HELP.")},
		{[]string{"SCRIPT"}, wrongArity("script")},
		{[]string{"EVAL", pcall, "0", "LOLWUT"}, lolwut},
		{[]string{"EVAL", check, "0", "SCRIPT", "KILL"}, []any{kill}},
		{[]string{"EVAL_RO", pcall, "0", "LATENCY", "DOCTOR"}, doctor},
		{[]string{"EVAL", pcall, "0", "LOLWAT"}, unknown},
		{[]string{"EVAL", pcall, "0", "SCRIPT", "SPARE"}, unknown},
		{[]string{"EVAL", mayRun, "0", "LOLWUT"}, string(lolwut)},
		{[]string{"EVAL", mayRun, "0", "LOLWAT"}, string(invalid)},
	} {
		expect(t, New(), test.want, test.args...)
	}
	const source = "return redis.call('LOLWUT')"
	expect(t, New(), Error(string(lolwut)+" script: "+digestOf(source)+", on @user_script:1."), "EVAL", source, "0")
}

// TestRedisCommands holds the list of commands, and the table, against the server's.
func TestRedisCommands(t *testing.T) {
	for name := range commands {
		if !redisCommands[name] {
			t.Errorf("%s is in the table and not in the list", name)
		}
	}
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		if server.Program.Minor() != "redis-7.0" {
			t.Skip("the list is that of Redis 7.0")
		}
		names, err := server.Client(t).Do(context.Background(), "COMMAND", "LIST").StringSlice()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		if diff := cmp.Diff(names, slices.Sorted(maps.Keys(redisCommands))); diff != "" {
			t.Errorf("commands: (-server +list)\n%s", diff)
		}
	})
}
