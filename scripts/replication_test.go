package scripts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/header"
)

// TestAuditReplica: of the scripts, those whose header names READONLY write,
// and a replica has them refused with nothing written.
func TestAuditReplica(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Namespace: "t"})
		backend.Must(t, cache.Load(ctx))
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		b.Do(t, "ZADD", "{t}/keys", 0, "stale") // for sweep
		before := corpus.Dump(t, b.Client, 0)
		b.Do(t, "REPLICAOF", "127.0.0.1", "1")
		for _, script := range wildkey.Scripts() {
			call := corpus.MalformedCalls()[script.Name][0]
			if script.Name == "sweep" {
				call.Keys = []string{"{t}/keys", "{t}:stale"}
			}
			err := b.Client.EvalSha(ctx, script.SHA1, call.Keys, call.Args...).Err()
			want := strings.Contains(header.Text(script, "ERRORS"), "READONLY")
			if got := err != nil && strings.Contains(err.Error(), "READONLY "); got != want || !want && err != nil {
				t.Errorf("%s.lua on a replica: %v; READONLY in its ERRORS: %t", script.Name, err, want)
			}
		}
		if diff := cmp.Diff(before, corpus.Dump(t, b.Client, 0)); diff != "" {
			t.Errorf("a replica was written to (-before +after)\n%s", diff)
		}
		b.Do(t, "REPLICAOF", "NO", "ONE")
	})
}

// TestAuditReplication: replicas and the append-only file are given what a
// script did, with absolute times, and never the script.
func TestAuditReplication(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		_, err := cache.Touch(ctx, time.Minute, wildkey.K("a"))
		backend.Must(t, err)
		var text string
		dir := b.Client.ConfigGet(ctx, "dir").Val()["dir"]
		backend.Must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".aof") {
				content, err := os.ReadFile(path)
				text += strings.ToUpper(string(content))
				return err
			}
			return err
		}))
		for command, want := range map[string]bool{
			"MULTI": true, "EXEC": true, "ZADD": true, "PXAT": true, "PEXPIREAT": true,
			"EVALSHA": false, "EVAL": false, "PEXPIRE": false, // Redis 6.2 writes SCRIPT LOAD there, and no call
		} {
			if got := strings.Contains(text, "\n"+command+"\r\n"); got != want {
				t.Errorf("%s in the append-only file: %t, want %t\n%s", command, got, want, text)
			}
		}
	}, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
}

// TestAuditNewVersion: two versions of a script serve side by side, and a flush
// takes both.
func TestAuditNewVersion(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		for _, script := range wildkey.Scripts() {
			call := corpus.MalformedCalls()[script.Name][0]
			older, err := b.Client.ScriptLoad(ctx, script.Source+"-- an older version\n").Result()
			backend.Must(t, err)
			for _, digest := range []string{older, corpus.Load(t, b.Client, script.Name), older} {
				if err := b.Client.EvalSha(ctx, digest, call.Keys, call.Args...).Err(); err != nil {
					t.Errorf("%s.lua %s: %v", script.Name, digest, err)
				}
			}
			before := corpus.Dump(t, b.Client, 0)
			backend.Must(t, b.Client.ScriptFlush(ctx).Err())
			for _, digest := range []string{older, script.SHA1} {
				if err := b.Client.EvalSha(ctx, digest, call.Keys, call.Args...).Err(); !redis.HasErrorPrefix(err, "NOSCRIPT") {
					t.Errorf("%s.lua %s after SCRIPT FLUSH: %v", script.Name, digest, err)
				}
			}
			if diff := cmp.Diff(before, corpus.Dump(t, b.Client, 0)); diff != "" {
				t.Errorf("a missing script has written (-before +after)\n%s", diff)
			}
		}
	})
}
