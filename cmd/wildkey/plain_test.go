package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// answer is an error of a server.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// TestPlainly: the cause is said in words of the tool, and what stands around it stays.
func TestPlainly(t *testing.T) {
	host := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("wildkey: as it is"), "as it is"},
		{fmt.Errorf("put.lua: %w", answer("NOPERM ACL failure in script: User a has no permissions to run the 'zadd' command script: x")),
			"put.lua: this user may not call ZADD; wildkey doctor says what to grant"},
		{answer("NOPERM No permissions to access a key"),
			"this user may not use one of the keys of a call; wildkey doctor says what to grant"},
		{answer("NOAUTH Authentication required."),
			"here:1 asks for a user and a password; put both into $REDIS_URL, as in redis://user:password@host:port"},
		{answer("LOADING Redis is loading the dataset in memory"), "here:1 is still loading its data; try again when it has"},
		{answer("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
			"here:1 is a replica that has lost its master, and answers nothing; give the URL of the master"},
		{answer("READONLY You can't write against a read only replica."),
			"here:1 is a replica, which takes no writes; give the URL of the master"},
		{answer("ERR unknown command 'info', with args beginning with: 'memory' "), "here:1 has no command INFO"},
		{answer("ERR unknown command `INFO`, with args beginning with: "), "here:1 has no command INFO"},
		{answer("ERR unknown command"), "here:1 does not know a command that it was sent"},
		{answer("ERR something else"), "ERR something else"},
		{partly{fmt.Errorf("a: %w; %w", answer("BUSY x"), context.DeadlineExceeded), "1 record written"},
			"a: here:1 is busy with a script; try again, or look at SCRIPT KILL; here:1 does not answer in time; " +
				"?read_timeout=30s in the URL waits longer (1 record written before)"},
		{&net.OpError{Op: "dial", Net: "tcp", Addr: host, Err: syscall.ECONNREFUSED},
			"nothing listens at 127.0.0.1:1; start the server, or give another --url or $REDIS_URL"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Name: "nowhere"}},
			"there is no host nowhere; look at --url or $REDIS_URL"},
		{&net.OpError{Op: "read", Net: "tcp", Addr: host, Err: syscall.ECONNRESET},
			"the connection to 127.0.0.1:1 is broken; try again"},
		{&net.OpError{Op: "remote error", Net: "tcp", Addr: host, Err: errors.New("tls: certificate required")},
			"the connection to 127.0.0.1:1 is broken: tls: certificate required; look at --cert and --key"},
		{fmt.Errorf("%w: put.lua abc", wildkey.ErrScriptMissing),
			"here:1 lacks put.lua; run wildkey scripts load, or leave out --preloaded"},
	} {
		if got := plainly(test.err, "here:1", true); got != test.want {
			t.Errorf("%v:\n%q, want\n%q", test.err, got, test.want)
		}
	}
}

// TestServerName: no password is shown.
func TestServerName(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	for url, want := range map[string]string{
		"redis://user:secret@host:1/2":    "host:1",
		"rediss://:secret@[::1]:6379":     "[::1]:6379",
		"unix://user:secret@/tmp/a?db=1":  "/tmp/a",
		"redis://user:secret@host:port":   "the server",
		"":                                "127.0.0.1:6379",
		"redis://:se%cret@host:1":         "the server",
		"redis-sentinel://:secret@s:2/m1": "s:2",
	} {
		tool := tool{url: url}
		if got := tool.server(); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	t.Setenv("REDIS_URL", "redis://:secret@host:1")
	if got := (&tool{}).server(); got != "host:1" {
		t.Errorf("by the environment: %q", got)
	}
}

// TestReplica asks replicas of a master that is not there.
func TestReplica(t *testing.T) {
	for stale, want := range map[string]string{
		"yes": " is a replica, which takes no writes; give the URL of the master",
		"no":  " is a replica that has lost its master, and answers nothing; give the URL of the master",
	} {
		redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
			ctx, client := context.Background(), server.Client(t)
			must(t, client.ConfigSet(ctx, "replica-serve-stale-data", stale).Err())
			must(t, client.Do(ctx, "REPLICAOF", "127.0.0.1", "1").Err())
			output, code := shell(t, server)("wildkey put a --no-expiry < /dev/null")
			if code != exitFailure || !strings.Contains(output, server.Addr+want) {
				t.Errorf("exit code %d, %q", code, output)
			}
		})
	}
}

// TestHintIsBounded has more keys than are looked through for a hint.
func TestHintIsBounded(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, client := context.Background(), server.Client(t)
		const many = `for i = 1, ARGV[1] do redis.call('SET', 'key' .. i, '') end
			for i = 1, 500 do redis.call('ZADD', '{n' .. i .. '}/keys', 0, 'a') end
			return 'OK'`
		run := shell(t, server)
		must(t, client.Eval(ctx, many, nil, 1).Err())
		output, _ := run("wildkey ls")
		if !strings.Contains(output, "; namespaces here: n1, ") || !strings.Contains(output, " and 492 more\n") {
			t.Errorf("of few keys: %q", output)
		}
		must(t, client.Eval(ctx, many, nil, 3*hintCalls*scanCount).Err())
		if output, _ = run("wildkey ls"); !strings.Contains(output, "; namespaces here, among others: n") {
			t.Errorf("of many keys: %q", output)
		}
	})
}
