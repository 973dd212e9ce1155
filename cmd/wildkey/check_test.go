package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestCheckToTheMillisecond shifts a score of the expiry index by one.
func TestCheckToTheMillisecond(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		needsRedis7(t, server, "the millisecond of an expiry")
		ctx, client := context.Background(), server.Client(t)
		cache, err := wildkey.New(client, wildkey.Options{Namespace: "app", TTL: time.Hour})
		must(t, err)
		must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K("early")}, wildkey.Record{Key: wildkey.K("late")}))
		must(t, client.ZIncrBy(ctx, "{app}/expiry", -1, "early").Err())
		must(t, client.ZIncrBy(ctx, "{app}/expiry", 1, "late").Err())
		output, code := shell(t, server)("wildkey check")
		if strings.Count(output, "wrong-expiry") != 2 || code != exitFindings {
			t.Errorf("exit code %d, and\n%s", code, output)
		}
	})
}

// TestCheckWhileOthersWrite has records come, go, expire and change their TTL
// under the check, which finds nothing wrong with that.
func TestCheckWhileOthersWrite(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		cache, err := wildkey.New(server.Client(t), wildkey.Options{Namespace: "app", TTL: time.Hour})
		must(t, err)
		ctx, stop := context.WithCancel(context.Background())
		written := make(chan error)
		go func() {
			var err error
			for i := 0; ctx.Err() == nil && err == nil; i++ {
				var records []wildkey.Record
				for j := range 50 {
					ttl := []time.Duration{time.Millisecond, time.Hour, wildkey.NoExpiry}[(i+j)%3]
					records = append(records, wildkey.Record{Key: wildkey.K("k", (i*7+j)%2000), TTL: ttl})
				}
				if err = cache.Put(context.Background(), records...); err == nil {
					_, err = cache.Delete(context.Background(), wildkey.K("k", i%2000), wildkey.K("k", i*3%2000))
				}
			}
			written <- err
		}()
		run := shell(t, server)
		for range 5 {
			if output, code := run("wildkey check"); code != 0 {
				t.Errorf("exit code %d, and\n%s", code, output)
			}
		}
		stop()
		must(t, <-written)
	})
}

// TestCheckRepairInRedisCLI has redis-cli do what check says, of an entry with every byte in it.
func TestCheckRepairInRedisCLI(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		member := "\u200b é "
		for i := range 256 {
			member += string([]byte{byte(i)})
		}
		must(t, server.Client(t).ZAdd(context.Background(), "{app}/keys", redis.Z{Member: member}).Err())
		run := shell(t, server)
		output, _ := run("wildkey check --json 2>&- | head -1")
		var found breach
		must(t, json.Unmarshal([]byte(output), &found))
		file := filepath.Join(t.TempDir(), "repair")
		must(t, os.WriteFile(file, []byte(found.Repair+"\n"), 0o666))
		if output, _ := run("redis-cli < " + file); output != "1\n" {
			t.Errorf("redis-cli says %q to %s", output, found.Repair)
		}
	})
}

// TestCheckBoundsMemory finds more breaches than it keeps in mind, in records that
// both the keyspace and an index lead to, and reports each once.
func TestCheckBoundsMemory(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx := context.Background()
		expires := time.Now().Add(time.Hour).UnixMilli()
		const n = 2*mostReported + 1
		_, err := server.Client(t).Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range n {
				key := strconv.Itoa(i)
				p.Do(ctx, "SET", "{app}:"+key, "", "PXAT", expires)
				p.ZAdd(ctx, "{app}/expiry", redis.Z{Member: key, Score: float64(expires)})
			}
			return nil
		})
		must(t, err)
		tool := newTool(nil, io.Discard, io.Discard)
		tool.url, tool.namespace = "redis://"+server.Addr, "app"
		s, err := tool.connect(ctx, reading)
		must(t, err)
		defer s.close()
		check, reported := checker{session: s, reported: map[breach]bool{}}, map[breach]int{}
		must(t, check.run(ctx, func(b breach) error {
			reported[b]++
			return nil
		}, func(int) {}))
		if len(reported) != n || check.summary.Breaches != n || check.summary.Entries != n {
			t.Errorf("reported %d breaches, of %d: %+v", len(reported), n, check.summary)
		}
		if len(check.reported) > mostReported {
			t.Errorf("%d breaches are kept in mind", len(check.reported))
		}
	})
}

// needsRedis7 skips a test of what older servers do not tell.
func needsRedis7(t *testing.T, server *redisserver.Server, what string) {
	t.Helper()
	if server.Program.Before(7, 0) {
		t.Skipf("%s does not tell %s", server.Program, what)
	}
}
