package wildkey_test

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/luatest"
)

func TestMissingScriptsAreLoaded(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		for range 2 {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
			if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 1 || err != nil {
				t.Errorf("Count: %d, %v", n, err)
			}
			backend.Must(t, b.Client.ScriptFlush(ctx).Err())
		}
	})
}

func TestPreloaded(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Preloaded: true})
		err := cache.Put(ctx, backend.Rec(wildkey.K("a"), "v"))
		put := wildkey.Scripts()[2]
		if !errors.Is(err, wildkey.ErrScriptMissing) || !strings.Contains(err.Error(), "put.lua "+put.SHA1) {
			t.Errorf("Put with no script loaded: %v", err)
		}
		if err := cache.Load(ctx); !errors.Is(err, wildkey.ErrScriptMissing) {
			t.Errorf("Load with no script loaded: %v", err)
		}
		if exists := b.Client.ScriptExists(ctx, put.SHA1).Val(); exists[0] {
			t.Error("a preloaded cache has loaded a script")
		}
		for _, script := range wildkey.Scripts() {
			backend.Must(t, b.Client.ScriptLoad(ctx, script.Source).Err())
		}
		backend.Must(t, cache.Load(ctx))
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
	})
}

// TestOneLoadAtATime: callers of a shard who all meet a server without scripts wait
// for one of them. One whose context ends waits no longer.
func TestOneLoadAtATime(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		const callers = 50
		var missed, loads, under, together atomic.Int32
		all := make(chan struct{})
		client := b.Hooked(t, backend.Hook{
			Before: func(cmds []redis.Cmder) {
				if cmds[0].Name() == "eval" {
					loads.Add(1)
					together.Store(max(together.Load(), under.Add(1)))
					<-all
					under.Add(-1)
				}
			},
			After: func(cmds []redis.Cmder) {
				if redis.HasErrorPrefix(cmds[0].Err(), "NOSCRIPT") {
					missed.Add(1)
				}
			},
		})
		cache := backend.Cache(t, client, wildkey.Options{})
		var group sync.WaitGroup
		for n := range callers {
			group.Add(1)
			go func() {
				defer group.Done()
				if err := cache.Put(ctx, backend.Rec(wildkey.K(n), "v")); err != nil {
					t.Errorf("Put %d: %v", n, err)
				}
			}()
		}
		backend.Eventually(t, "one loads", func() bool { return loads.Load() == 1 })
		impatient, cancel := context.WithCancel(ctx)
		ended := make(chan error)
		go func() { ended <- cache.Put(impatient, backend.Rec(wildkey.K(callers), "v")) }()
		backend.Eventually(t, "all have missed the script", func() bool { return missed.Load() == callers+1 })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Put with a context that has ended: %v", err)
		}
		close(all)
		group.Wait()
		// Who was about to wait when the load ended loads once more.
		if together.Load() != 1 || loads.Load() > callers/5 {
			t.Errorf("%d loads for %d callers, %d at a time", loads.Load(), callers, together.Load())
		}
	})
}

// TestEvalRORefused: Redis 6.2 has no EVALSHA_RO, and an ACL may grant EVALSHA alone.
// Where EVALSHA does, it is used from then on.
func TestEvalRORefused(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, refusal := range []string{
			"ERR unknown command `evalsha_ro`, with args beginning with: ",
			"NOPERM this user has no permissions to run the 'evalsha_ro' command",
		} {
			var tried, plain atomic.Int32
			grants := false
			client := b.NewClient(t, func(*redis.Options) {})
			client.AddHook(backend.Answer(func(cmd redis.Cmder) error {
				switch {
				case cmd.Name() == "evalsha_ro":
					tried.Add(1)
					cmd.SetErr(luatest.Error(refusal))
				case cmd.Name() == "evalsha" && !grants:
					plain.Add(1)
					cmd.SetErr(luatest.Error("NOPERM refused by the test"))
				}
				return cmd.Err()
			}))
			backend.Must(t, b.Cache(t, wildkey.Options{}).Put(ctx, backend.Rec(wildkey.K("a"), "v")))
			cache := backend.Cache(t, client, wildkey.Options{})
			if _, err := cache.Count(ctx, wildkey.MustParsePattern("**")); !strings.Contains(fmt.Sprint(err), "by the test") {
				t.Errorf("Count where both are refused: %v", err)
			}
			grants = true
			for range 3 {
				if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 1 || err != nil {
					t.Errorf("Count: %d, %v", n, err)
				}
			}
			if tried.Load() != 2 || plain.Load() != 1 {
				t.Errorf("%s: EVALSHA_RO was tried %d times, EVALSHA in vain %d times", refusal, tried.Load(), plain.Load())
			}
		}
	})
}

// TestFailuresOfTheLoader: one of SCRIPT LOAD and EVAL is enough to bring a script, what goes wrong beside a script is told, and a sweep that fails does not
// spoil a page.
func TestFailuresOfTheLoader(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		var refused []string // commands and digests of scripts
		b.Client.AddHook(backend.Answer(func(cmd redis.Cmder) error {
			digest, _ := append(cmd.Args(), "")[1].(string)
			if slices.Contains(refused, cmd.Name()) || slices.Contains(refused, digest) {
				cmd.SetErr(luatest.Error("NOPERM refused by the test"))
			}
			return cmd.Err()
		}))
		cache, everything := b.Cache(t, wildkey.Options{}), wildkey.MustParsePattern("**")
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v"), backend.Rec(wildkey.K("b"), "v")))

		refused = []string{"script"}
		if err := cache.Load(ctx); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Load where SCRIPT LOAD is refused: %v", err)
		}
		for range 2 {
			flush(t, b)
			if n, err := cache.Touch(ctx, time.Hour, wildkey.K("a")); n != 1 || err != nil {
				t.Errorf("Touch where SCRIPT LOAD is refused: %d, %v", n, err)
			}
			if n, err := cache.Count(ctx, everything); n != 2 || err != nil {
				t.Errorf("Count where SCRIPT LOAD is refused: %d, %v", n, err)
			}
		}
		refused = []string{"eval", "eval_ro"}
		for range 2 {
			flush(t, b)
			if n, err := cache.Touch(ctx, time.Hour, wildkey.K("a")); n != 1 || err != nil {
				t.Errorf("Touch where EVAL is refused: %d, %v", n, err)
			}
			flush(t, b)
			if n, err := cache.Count(ctx, everything); n != 2 || err != nil {
				t.Errorf("Count where EVAL_RO is refused: %d, %v", n, err)
			}
		}
		refused = []string{"script", "eval", "eval_ro"}
		flush(t, b)
		if _, err := cache.Touch(ctx, time.Hour, wildkey.K("a")); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Touch where EVAL is refused too: %v", err)
		}
		if _, err := cache.Count(ctx, everything); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Count where EVAL_RO is refused too: %v", err)
		}

		b.Do(t, "UNLINK", "{test}:a")
		refused = []string{wildkey.Scripts()[3].SHA1}
		backend.WantAll(t, cache, "**", "b=v") // where sweep.lua is refused
		if n, err := cache.Count(ctx, everything); n != 1 || err != nil {
			t.Errorf("Count where sweep.lua is refused: %d, %v", n, err)
		}
		if _, err := cache.Sweep(ctx); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Sweep where sweep.lua is refused: %v", err)
		}
	})
}

// flush has the server forget all scripts, by a client without hooks.
func flush(t *testing.T, b *backend.Backend) {
	t.Helper()
	backend.Must(t, b.NewClient(t, func(*redis.Options) {}).ScriptFlush(ctx).Err())
}

// TestFIPSOnly runs every script in a process in which only FIPS 140 algorithms are
// allowed, and computing a SHA-1 panics.
func TestFIPSOnly(t *testing.T) {
	if addr := os.Getenv("WILDKEY_TEST_FIPS"); addr != "" {
		client := redis.NewClient(&redis.Options{Addr: addr})
		defer client.Close()
		cache := backend.Cache(t, client, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v"), backend.Rec(wildkey.K("b"), "v")))
		backend.WantAll(t, cache, "**", "a=v", "b=v")
		if n, err := cache.Delete(ctx, wildkey.K("a")); n != 1 || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
		if _, err := cache.Sweep(ctx); err != nil {
			t.Errorf("Sweep: %v", err)
		}
		return
	}
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		child := exec.Command(os.Args[0], "-test.run=^TestFIPSOnly$", "-test.v")
		child.Env = append(os.Environ(), "GODEBUG=fips140=only", "WILDKEY_TEST_FIPS="+b.Server.Addr)
		output, err := child.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "--- PASS: TestFIPSOnly") {
			t.Errorf("%v\n%s", err, output)
		}
	})
}

// TestNoSHA1: programs in which only FIPS 140 algorithms are allowed cannot compute
// one, so the digests are those of SHA1SUMS.
func TestNoSHA1(t *testing.T) {
	files, err := filepath.Glob("*.go")
	backend.Must(t, err)
	parsed := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		backend.Must(t, err)
		parsed++
		for _, imported := range file.Imports {
			if strings.HasPrefix(imported.Path.Value, `"crypto/`) {
				t.Errorf("%s imports %s", name, imported.Path.Value)
			}
		}
	}
	if parsed == 0 {
		t.Error("no file was looked at")
	}
}
