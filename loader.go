package wildkey

import (
	"context"
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

//go:embed scripts/SHA1SUMS
var digests string

// Script is one of the Lua scripts in scripts/, byte for byte as SCRIPT LOAD takes it.
type Script struct {
	Name   string // "put", of scripts/put.lua
	Source string
	SHA1   string // lower-case hex, as EVALSHA takes it
}

var (
	deleteScript = readScript("delete")
	matchScript  = readScript("match")
	putScript    = readScript("put")
	sweepScript  = readScript("sweep")
)

// Scripts returns the scripts that a Cache calls, sorted by name. Deployments can use it
// to load, list or compare them.
func Scripts() []Script {
	return []Script{deleteScript, matchScript, putScript, sweepScript}
}

// readScript takes the digest from SHA1SUMS, which a test compares with the file. A
// program that may only use FIPS 140 algorithms cannot compute a SHA-1.
func readScript(name string) Script {
	source, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic(err) // the file was there when the package was compiled
	}
	before, _, _ := strings.Cut(digests, "  "+name+".lua\n")
	return Script{Name: name, Source: string(source), SHA1: before[len(before)-40:]}
}

// loader calls scripts by digest and loads them if the server lacks them.
type loader struct {
	client    redis.Scripter
	preloaded bool
	noEvalRO  atomic.Bool // the server refused EVALSHA_RO and accepted EVALSHA
	loading   sync.Map    // by script and index: a channel that is closed after loading
}

// provide loads the script on all nodes. If scripts are preloaded, it checks that all
// nodes have the script.
func (l *loader) provide(ctx context.Context, script Script) error {
	onNode := func(ctx context.Context, node redis.Scripter) error {
		if !l.preloaded {
			if err := node.ScriptLoad(ctx, script.Source).Err(); err != nil {
				return fmt.Errorf("wildkey: SCRIPT LOAD %s.lua: %w", script.Name, err)
			}
			return nil
		}
		exists, err := node.ScriptExists(ctx, script.SHA1).Result()
		if err != nil {
			return fmt.Errorf("wildkey: SCRIPT EXISTS: %w", err)
		}
		if !slices.Equal(exists, []bool{true}) {
			return missing(script)
		}
		return nil
	}
	// A *redis.Ring sends a command without keys to only one of its servers.
	several, ok := l.client.(interface {
		ForEachShard(ctx context.Context, fn func(ctx context.Context, node *redis.Client) error) error
	})
	if !ok {
		return onNode(ctx, l.client)
	}
	return several.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error { return onNode(ctx, node) })
}

func missing(script Script) error {
	return fmt.Errorf("%w: %s.lua %s", ErrScriptMissing, script.Name, script.SHA1)
}

// caller sends a script to the node of its first key, by digest or as source.
type caller struct {
	bySHA1, bySource func(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd
}

// run calls a script on the master. The error of the Cmd wraps the error of Redis or a
// sentinel of this package.
func (l *loader) run(ctx context.Context, script Script, keys []string, args ...any) *redis.Cmd {
	return l.call(ctx, caller{l.client.EvalSha, l.client.Eval}, script, keys, args)
}

// runReadOnly calls a script that never writes. With EVALSHA_RO, replicas and users
// without write permission can run it. Redis 6.2 lacks that command, and an ACL may grant
// only EVALSHA. So if the server refuses EVALSHA_RO, runReadOnly tries EVALSHA.
func (l *loader) runReadOnly(ctx context.Context, script Script, keys []string, args ...any) *redis.Cmd {
	if l.noEvalRO.Load() {
		return l.run(ctx, script, keys, args...)
	}
	cmd := l.call(ctx, caller{l.client.EvalShaRO, l.client.EvalRO}, script, keys, args)
	// The error for an unknown command has no code, but the same words in all versions.
	if err := cmd.Err(); redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "unknown command") {
		cmd = l.run(ctx, script, keys, args...)
		l.noEvalRO.Store(cmd.Err() == nil)
	}
	return cmd
}

// call runs the script by digest, and loads it first if the server lacks it.
func (l *loader) call(ctx context.Context, to caller, script Script, keys []string, args []any) *redis.Cmd {
	cmd := to.bySHA1(ctx, script.SHA1, keys, args...)
	if isMissing(cmd.Err()) && !l.preloaded {
		cmd = l.callMissing(ctx, to, script, keys, args)
	}
	err := cmd.Err()
	if err != nil && wrapping.MatchString(err.Error()) {
		err = typedAs(redis.Nil, wrapping.ReplaceAllString(err.Error(), "")) // still a redis.Error
	}
	switch {
	case err == nil:
	case isMissing(err):
		cmd.SetErr(missing(script))
	case redis.HasErrorPrefix(err, "BADARG"):
		cmd.SetErr(fmt.Errorf("%w: %w", ErrBadArgument, err))
	default:
		cmd.SetErr(fmt.Errorf("wildkey: %s.lua: %w", script.Name, err))
	}
	return cmd
}

// callMissing sends the source to the node that lacks the script, which then keeps it.
// Loading the script on every node would wait for nodes that do not answer. Only one of
// several concurrent callers in a shard sends the source; the others wait for it.
func (l *loader) callMissing(ctx context.Context, to caller, script Script, keys []string, args []any) *redis.Cmd {
	loaded, place := make(chan struct{}), script.Name+" "+keys[0]
	if other, loading := l.loading.LoadOrStore(place, loaded); loading {
		select {
		case <-other.(chan struct{}):
		case <-ctx.Done():
		}
		if cmd := to.bySHA1(ctx, script.SHA1, keys, args...); !isMissing(cmd.Err()) {
			return cmd
		}
	} else {
		defer close(loaded)
		defer l.loading.Delete(place)
	}
	cmd := to.bySource(ctx, script.Source, keys, args...)
	// An ACL may allow SCRIPT LOAD but not EVAL.
	if redis.HasErrorPrefix(cmd.Err(), "NOPERM") && l.provide(ctx, script) == nil {
		cmd = to.bySHA1(ctx, script.SHA1, keys, args...)
	}
	return cmd
}

func isMissing(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// wrapping is the text that Redis 6.2 puts before an error that a script raised or
// passed on.
var wrapping = regexp.MustCompile(`^(?:ERR Error running script .*)?@user_script: ?\d+: -?`)

func typedAs[T ~string](_ T, text string) T { return T(text) }

func unexpectedReply(script Script, reply any) error {
	return fmt.Errorf("wildkey: %s.lua: unexpected reply %.100q", script.Name, fmt.Sprint(reply))
}
