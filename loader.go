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
)

// Scripts returns the scripts that a Cache calls, sorted by name, so that a
// deployment can load, list or compare them.
func Scripts() []Script {
	return []Script{deleteScript, matchScript, putScript, sweepScript}
}

// readScript takes the digest from SHA1SUMS, which a test holds against the file:
// where only FIPS 140 algorithms are allowed, a program cannot compute a SHA-1.
func readScript(name string) Script {
	source, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic(err) // the file was there when the package was compiled
	}
	before, _, _ := strings.Cut(digests, "  "+name+".lua\n")
	return Script{Name: name, Source: string(source), SHA1: before[len(before)-40:]}
}

// loader calls scripts by digest, and loads those that the server lacks.
type loader struct {
	client    redis.Scripter
	preloaded bool
	noEvalRO  atomic.Bool // EVALSHA was taken where EVALSHA_RO was refused
	loading   sync.Map    // by script and index: closed when the server has the script
}

// provide loads the script on all nodes, or looks for a preloaded one.
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
	// A *redis.Ring sends what names no key to any one of its servers.
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

// caller sends a script to where its first key lies: by digest, or as source.
type caller struct {
	bySHA1, bySource func(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd
}

// run calls a script on the master. An error of the Cmd wraps Redis's own or a
// sentinel of this package.
func (l *loader) run(ctx context.Context, script Script, keys []string, args ...any) *redis.Cmd {
	return l.call(ctx, caller{l.client.EvalSha, l.client.Eval}, script, keys, args)
}

// runReadOnly calls a script that never writes. By EVALSHA_RO, replicas and users
// without write permission run it. Redis 6.2 lacks that command, and an ACL may
// grant EVALSHA alone: where EVALSHA_RO is refused, EVALSHA tells.
func (l *loader) runReadOnly(ctx context.Context, script Script, keys []string, args ...any) *redis.Cmd {
	if l.noEvalRO.Load() {
		return l.run(ctx, script, keys, args...)
	}
	cmd := l.call(ctx, caller{l.client.EvalShaRO, l.client.EvalRO}, script, keys, args)
	// The words of an unknown command are the same in all versions; it has no code of its own.
	if err := cmd.Err(); redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "unknown command") {
		cmd = l.run(ctx, script, keys, args...)
		l.noEvalRO.Store(cmd.Err() == nil)
	}
	return cmd
}

// call sends the digest, and what else it takes where the server lacks the script.
func (l *loader) call(ctx context.Context, to caller, script Script, keys []string, args []any) *redis.Cmd {
	cmd := to.bySHA1(ctx, script.SHA1, keys, args...)
	if isMissing(cmd.Err()) && !l.preloaded {
		cmd = l.callMissing(ctx, to, script, keys, args)
	}
	err := cmd.Err()
	if err != nil && wrapping.MatchString(err.Error()) {
		err = typedAs(redis.Nil, wrapping.ReplaceAllString(err.Error(), "")) // an error of Redis like any
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

// callMissing sends the source, which the server keeps, to the node that lacks it: to
// load a script on every node would wait for one that does not answer. Of concurrent
// callers in a shard one sends it, and the others wait for it.
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
	// A user may be one who may load scripts, and not send them.
	if redis.HasErrorPrefix(cmd.Err(), "NOPERM") && l.provide(ctx, script) == nil {
		cmd = to.bySHA1(ctx, script.SHA1, keys, args...)
	}
	return cmd
}

func isMissing(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// wrapping is what Redis 6.2 puts before an error that a script has raised, or
// passed on.
var wrapping = regexp.MustCompile(`^(?:ERR Error running script .*)?@user_script: ?\d+: -?`)

func typedAs[T ~string](_ T, text string) T { return T(text) }

func unexpectedReply(script Script, reply any) error {
	return fmt.Errorf("wildkey: %s.lua: unexpected reply %.100q", script.Name, fmt.Sprint(reply))
}
