package wildkey

import (
	"cmp"
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// Script is one of the Lua scripts, byte for byte as it is in scripts/ and as
// SCRIPT LOAD takes it.
type Script struct {
	Name   string // "put", of scripts/put.lua
	Source string
	SHA1   string // lower-case hex, what EVALSHA takes
}

var (
	deleteScript = readScript("delete")
	matchScript  = readScript("match")
	putScript    = readScript("put")
	sweepScript  = readScript("sweep")
	touchScript  = readScript("touch")
)

// Scripts returns the scripts that a Cache calls, sorted by name, so that a
// deployment can load, list or compare them.
func Scripts() []Script {
	return []Script{deleteScript, matchScript, putScript, sweepScript, touchScript}
}

func readScript(name string) Script {
	source, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic(err) // the file was there when the package was compiled
	}
	digest := sha1.Sum(source)
	return Script{Name: name, Source: string(source), SHA1: hex.EncodeToString(digest[:])}
}

// loader calls scripts by digest, and loads those that the server lacks: on
// every node of a cluster and, if that is not enough, on the one to which a call
// is sent. It never falls back on EVAL: a server may evict what came with EVAL.
type loader struct {
	client    redis.Scripter
	preloaded bool
	noEvalRO  atomic.Bool // the server is older than Redis 7.0, which brought EVALSHA_RO
}

// provide loads the script, on all nodes of a redis.ClusterClient that answer,
// or looks for a preloaded one.
func (l *loader) provide(ctx context.Context, script Script) error {
	if !l.preloaded {
		return load(ctx, l.client, script)
	}
	exists, err := l.client.ScriptExists(ctx, script.SHA1).Result()
	if err != nil {
		return fmt.Errorf("wildkey: SCRIPT EXISTS: %w", err)
	}
	if !slices.Equal(exists, []bool{true}) {
		return fmt.Errorf("%w: %s.lua %s", ErrScriptMissing, script.Name, script.SHA1)
	}
	return nil
}

func load(ctx context.Context, client redis.Scripter, script Script) error {
	if err := client.ScriptLoad(ctx, script.Source).Err(); err != nil {
		return fmt.Errorf("wildkey: SCRIPT LOAD %s.lua: %w", script.Name, err)
	}
	return nil
}

// loadWhereCalled loads the script on the node that runs a call for the keys:
// their master, by the newest list of the slots that the client has, or the one to
// which that sends the call, which is being given their slot, or has it so lately
// that no list has it yet.
func loadWhereCalled(ctx context.Context, cluster *redis.ClusterClient, script Script, keys []string) error {
	master, err := cluster.MasterForKey(ctx, keys[0])
	if err != nil {
		return fmt.Errorf("wildkey: %s.lua: %w", script.Name, err)
	}
	var redirection interface {
		error
		Addr() string
	}
	if err := refusal(ctx, master, keys); err == nil {
		return load(ctx, master, script)
	} else if !errors.As(err, &redirection) {
		return nil
	}
	options, addr := *master.Options(), redirection.Addr()
	if colon := strings.LastIndexByte(addr, ':'); colon > 0 { // Redis writes ::1:6379
		options.Addr = net.JoinHostPort(strings.Trim(addr[:colon], "[]"), addr[colon+1:])
	}
	options.PushNotificationProcessor = nil // each client has its own
	node := cluster.Options().NewClient(&options)
	defer node.Close()
	return load(ctx, node, script)
}

// refusal returns why a node would run no script with these keys, such as MOVED,
// ASK or TRYAGAIN. It calls a digest that no script has.
func refusal(ctx context.Context, node redis.Scripter, keys []string) error {
	err := node.EvalSha(ctx, strings.Repeat("0", 2*sha1.Size), keys).Err()
	if isMissing(err) {
		return nil
	}
	return err
}

// run calls a script. An error of the Cmd wraps Redis's own or a sentinel.
func (l *loader) run(ctx context.Context, script Script, keys []string, args ...any) *redis.Cmd {
	cmd := l.call(ctx, script, keys, args)
	var loading error
	if isMissing(cmd.Err()) && !l.preloaded {
		// A node that is down fails the loading, and need not be the one that is called.
		loading = l.provide(ctx, script)
		cmd = l.call(ctx, script, keys, args)
		if cluster, ok := l.client.(*redis.ClusterClient); ok && isMissing(cmd.Err()) {
			loading = cmp.Or(loadWhereCalled(ctx, cluster, script, keys), loading)
			cmd = l.call(ctx, script, keys, args)
		}
	}
	err := cmd.Err()
	if err != nil && wrapping.MatchString(err.Error()) {
		err = typedAs(redis.Nil, wrapping.ReplaceAllString(err.Error(), "")) // an error of Redis like any
	}
	switch {
	case err == nil:
	case isMissing(err) && loading != nil:
		cmd.SetErr(loading)
	case isMissing(err):
		cmd.SetErr(fmt.Errorf("%w: %s.lua %s", ErrScriptMissing, script.Name, script.SHA1))
	case redis.HasErrorPrefix(err, "BADARG"):
		cmd.SetErr(fmt.Errorf("%w: %w", ErrBadArgument, err))
	default:
		cmd.SetErr(fmt.Errorf("wildkey: %s.lua: %w", script.Name, err))
	}
	return cmd
}

func isMissing(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// wrapping is what Redis 6.2 puts before an error that a script has raised, or
// passed on.
var wrapping = regexp.MustCompile(`^(?:ERR Error running script .*)?@user_script: ?\d+: -?`)

func typedAs[T ~string](_ T, text string) T { return T(text) }

// call prefers EVALSHA_RO for the one script that never writes: replicas and
// users without write permission run it.
func (l *loader) call(ctx context.Context, script Script, keys []string, args []any) *redis.Cmd {
	if script.Name == matchScript.Name && !l.noEvalRO.Load() {
		cmd := l.client.EvalShaRO(ctx, script.SHA1, keys, args...)
		if !redis.HasErrorPrefix(cmd.Err(), "unknown command") {
			return cmd
		}
		l.noEvalRO.Store(true)
	}
	return l.client.EvalSha(ctx, script.SHA1, keys, args...)
}

func unexpectedReply(script Script, reply any) error {
	return fmt.Errorf("wildkey: %s.lua: unexpected reply %.100q", script.Name, fmt.Sprint(reply))
}
