package main

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

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

// TestCheckBoundsMemory finds more breaches than it keeps in mind, and reports
// each once.
func TestCheckBoundsMemory(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx := context.Background()
		const n = 2*mostReported + 1
		_, err := server.Client(t).Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range n {
				p.Set(ctx, "{app}:"+strconv.Itoa(i), "", time.Hour)
			}
			return nil
		})
		must(t, err)
		s := connect(t, server, reading)
		reported := map[breach]int{}
		check := checker{session: s, reported: map[breach]bool{}, looked: func(int) {}, report: func(b breach) error {
			reported[b]++
			return nil
		}}
		must(t, check.run(ctx))
		if len(reported) != n || check.summary.Breaches != n || check.summary.Records != n {
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
