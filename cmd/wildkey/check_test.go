package main

import (
	"context"
	"strings"
	"testing"
	"time"

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

// needsRedis7 skips a test of what older servers do not tell.
func needsRedis7(t *testing.T, server *redisserver.Server, what string) {
	t.Helper()
	if server.Program.Before(7, 0) {
		t.Skipf("%s does not tell %s", server.Program, what)
	}
}
