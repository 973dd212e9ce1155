package miniredis

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

// benchmarked are scripts of the kinds that people have: a lock that is released
// if it is one's own, calls counted in a window, a token bucket.
var benchmarked = map[string]struct {
	source string
	args   []any
}{
	"unlock": {`redis.call('SET', KEYS[1], ARGV[1], 'PX', 10000)
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`, []any{"token"}},
	"window": {`local calls = redis.call('INCR', KEYS[1])
if calls == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return calls <= tonumber(ARGV[1]) and 1 or 0`, []any{100, 60000}},
	"bucket": {`local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local rate, now = tonumber(ARGV[1]), tonumber(ARGV[2])
local tokens = math.min(rate, (tonumber(bucket[1]) or rate) + (now - (tonumber(bucket[2]) or now)) * rate)
local allowed = tokens >= 1 and 1 or 0
redis.call('HSET', KEYS[1], 'tokens', tokens - allowed, 'at', now)
redis.call('EXPIRE', KEYS[1], 60)
return allowed`, []any{5, 1700000000}},
}

// BenchmarkScripts runs each script by EVALSHA, one call after another, on the
// engine by way of its client, on miniredis and on a redis-server.
func BenchmarkScripts(b *testing.B) {
	clients := map[string]*redis.Client{}
	engine, server := luatest.New(), miniredis.RunT(b)
	defer engine.Close()
	clients["luatest"] = engine.Client()
	clients["miniredis"] = redis.NewClient(&redis.Options{Addr: server.Addr()})
	if programs, err := redisserver.Programs(); err == nil {
		real, err := programs[0].Run()
		if err != nil {
			b.Fatal(err)
		}
		defer real.Close()
		clients["redis-server"] = redis.NewClient(&redis.Options{Addr: real.Addr})
	}
	for script, benchmarked := range benchmarked {
		for name, client := range clients {
			b.Run(script+"/"+name, func(b *testing.B) {
				run := redis.NewScript(benchmarked.source)
				for range b.N {
					if err := run.Run(b.Context(), client, []string{"{bench}" + script}, benchmarked.args...).Err(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scripts/s")
			})
		}
	}
}
