package main

import (
	"context"
	"io"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestSentinel finds the master by its Sentinel, also that which has taken its place
// meanwhile.
func TestSentinel(t *testing.T) {
	redisserver.EachWatched(t, func(t *testing.T, watched *redisserver.Watched) {
		ctx, master := context.Background(), watched.Master(t)
		url := "redis-sentinel://" + watched.Sentinel.Addr + "/" + watched.Name
		run := shell(t, watched.Sentinel) // $REDIS_URL is the plain URL of the Sentinel
		expect := func(command, want string, wantCode int) {
			t.Helper()
			if output, code := run(command); output != want || code != wantCode {
				t.Errorf("%s: exit code %d, and\n%swant\n%s", command, code, output, want)
			}
		}
		expect("printf v | wildkey --url "+url+" put a --no-expiry", "put a, 1 B\n", 0)
		expect("wildkey --url "+url+"/0 ls --keys", "a\n", 0)
		expect("wildkey --url "+url+" scripts --json | cut -d: -f 4- | sort -u",
			`["`+master+`"],"missing":[]}`+"\n"+`[],"missing":["`+master+`"]}`+"\n", 0)

		is := "wildkey: " + watched.Sentinel.Addr + " is a Sentinel, which has no records: the URL of its master is "
		expect("wildkey ls", is+url+"\nSee: wildkey ls --help\n", exitUsage)
		expect("wildkey --url redis://$ADDR/3 doctor", is+url+"/3\nSee: wildkey doctor --help\n", exitUsage)
		expect("wildkey --url redis-sentinel://$ADDR/other ls",
			"wildkey: asking Sentinel "+watched.Sentinel.Addr+": it has no master other, but "+watched.Name+"\n", exitFailure)
		expect("wildkey --url redis-sentinel://127.0.0.1:1,$ADDR/"+watched.Name+" get a", "v", 0)

		tool := newTool(nil, io.Discard, io.Discard)
		tool.url, tool.namespace = url, "app"
		s, err := tool.connect(ctx, writing)
		must(t, err)
		defer s.close()
		watched.Failover(t)
		if now := watched.Master(t); now == master {
			t.Fatal("the master is that of before")
		}
		must(t, s.cache.Put(ctx, wildkey.Record{Key: wildkey.K("b"), Value: []byte("w"), TTL: wildkey.NoExpiry}))
		expect("wildkey --url "+url+" get b", "w", 0)
	})
}
