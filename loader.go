package wildkey

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
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
	noEvalRO  atomic.Bool // the server is older than Redis 7.0, which brought EVALSHA_RO
}

// provide loads the script, on all nodes of a cluster, or looks for a preloaded one.
func (l *loader) provide(ctx context.Context, script Script) error {
	if !l.preloaded {
		if err := l.client.ScriptLoad(ctx, script.Source).Err(); err != nil {
			return fmt.Errorf("wildkey: SCRIPT LOAD %s.lua: %w", script.Name, err)
		}
		return nil
	}
	exists, err := l.client.ScriptExists(ctx, script.SHA1).Result()
	if err != nil {
		return fmt.Errorf("wildkey: SCRIPT EXISTS: %w", err)
	}
	if !slices.Equal(exists, []bool{true}) {
		return missing(script)
	}
	return nil
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
// without write permission run it.
func (l *loader) runReadOnly(ctx context.Context, script Script, keys []string, args ...any) *redis.Cmd {
	if !l.noEvalRO.Load() {
		cmd := l.call(ctx, caller{l.client.EvalShaRO, l.client.EvalRO}, script, keys, args)
		var refused redis.Error
		if !errors.As(cmd.Err(), &refused) || !redis.HasErrorPrefix(refused, "unknown command") {
			return cmd
		}
		l.noEvalRO.Store(true)
	}
	return l.run(ctx, script, keys, args...)
}

// call sends the digest. If the server lacks the script, call loads it, on all
// nodes, and sends the digest again. A node that is down fails the loading, and one
// that has just joined may be left out: then the source goes to the node itself.
func (l *loader) call(ctx context.Context, to caller, script Script, keys []string, args []any) *redis.Cmd {
	cmd := to.bySHA1(ctx, script.SHA1, keys, args...)
	if isMissing(cmd.Err()) && !l.preloaded {
		if l.provide(ctx, script) == nil {
			cmd = to.bySHA1(ctx, script.SHA1, keys, args...)
		}
		if isMissing(cmd.Err()) {
			cmd = to.bySource(ctx, script.Source, keys, args...)
		}
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

func isMissing(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// wrapping is what Redis 6.2 puts before an error that a script has raised, or
// passed on.
var wrapping = regexp.MustCompile(`^(?:ERR Error running script .*)?@user_script: ?\d+: -?`)

func typedAs[T ~string](_ T, text string) T { return T(text) }

func unexpectedReply(script Script, reply any) error {
	return fmt.Errorf("wildkey: %s.lua: unexpected reply %.100q", script.Name, fmt.Sprint(reply))
}
