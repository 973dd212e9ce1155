package wildkey

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
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

// loader calls scripts by digest, and loads those that the server lacks. It
// never falls back on EVAL: a server may evict what came with EVAL.
type loader struct {
	client    redis.Scripter
	preloaded bool
	noEvalRO  atomic.Bool // the server is older than Redis 7.0, which brought EVALSHA_RO
}

// provide loads the script, on all nodes of a redis.ClusterClient, or looks for a preloaded one.
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
		return fmt.Errorf("%w: %s.lua %s", ErrScriptMissing, script.Name, script.SHA1)
	}
	return nil
}

// run calls a script. An error of the Cmd wraps Redis's own or a sentinel.
func (l *loader) run(ctx context.Context, script Script, keys []string, args ...any) *redis.Cmd {
	cmd := l.call(ctx, script, keys, args)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") && !l.preloaded {
		if err := l.provide(ctx, script); err != nil {
			cmd.SetErr(err)
			return cmd
		}
		cmd = l.call(ctx, script, keys, args)
	}
	err := cmd.Err()
	if err != nil && wrapping.MatchString(err.Error()) {
		err = typedAs(redis.Nil, wrapping.ReplaceAllString(err.Error(), "")) // an error of Redis like any
	}
	switch {
	case err == nil:
	case redis.HasErrorPrefix(err, "NOSCRIPT"):
		cmd.SetErr(fmt.Errorf("%w: %s.lua %s", ErrScriptMissing, script.Name, script.SHA1))
	case redis.HasErrorPrefix(err, "BADARG"):
		cmd.SetErr(fmt.Errorf("%w: %w", ErrBadArgument, err))
	default:
		cmd.SetErr(fmt.Errorf("wildkey: %s.lua: %w", script.Name, err))
	}
	return cmd
}

// wrapping is what Redis 6.2 puts before an error that a script has raised.
var wrapping = regexp.MustCompile(`^ERR Error running script .*@user_script: ?\d+: -?`)

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
