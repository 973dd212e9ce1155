package faults

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestByHand changes live records with plain commands while clients use them.
// Afterwards Match, MatchKeys, Count and DeleteMatch agree with Get.
func TestByHand(t *testing.T) {
	const setAgain = "local value = redis.call('GET', KEYS[1]); return value and redis.call('SET', KEYS[1], value)"
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := server.Client(t)
		for _, way := range []struct {
			command string
			expires bool
			do      func(pipe redis.Pipeliner, name string) redis.Cmder
		}{
			{"PERSIST", false, func(pipe redis.Pipeliner, name string) redis.Cmder { return pipe.Persist(ctx, name) }},
			{"EXPIRE", false, func(pipe redis.Pipeliner, name string) redis.Cmder { return pipe.Expire(ctx, name, 5*time.Hour) }},
			{"EXPIRE to the next millisecond", true, func(pipe redis.Pipeliner, name string) redis.Cmder {
				return pipe.PExpire(ctx, name, time.Millisecond)
			}},
			{"SET over live records", false, func(pipe redis.Pipeliner, name string) redis.Cmder {
				return pipe.Eval(ctx, setAgain, []string{name})
			}},
			{"DEL", true, func(pipe redis.Pipeliner, name string) redis.Cmder { return pipe.Del(ctx, name) }},
		} {
			l := newLoad(t, client, loadOptions{evicts: way.expires})
			table := newRow(t, way.command+" by hand")
			changed := 0
			for range rounds(3, 20) {
				l.during(func() {
					for range 10 {
						if !l.waitForWrites(50) {
							t.Error("no load")
						}
						changed += byHand(t, client, l.cache.Layout(), way.do)
					}
				})
				table.add(l, l.judgeWhole(t, client))
			}
			if onlySay(t, table, "done"); changed == 0 {
				t.Errorf("%s has changed no record", way.command)
			}
			table.found = fmt.Sprintf("after %s changes by hand", thousands(changed))
			l.mustDelete(t, client)
		}
	})
}

// byHand does something to a third of the records, and returns to how many that
// were there.
func byHand(
	t *testing.T, client *redis.Client, layout wildkey.Layout, do func(redis.Pipeliner, string) redis.Cmder,
) (changed int) {
	t.Helper()
	replies, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, name := range client.Keys(ctx, layout.Prefix(0)+"*").Val() {
			if rand.IntN(3) == 0 {
				do(pipe, name)
			}
		}
		return nil
	})
	if err != nil && err != redis.Nil {
		t.Fatal(err)
	}
	for _, reply := range replies {
		switch reply := reply.(type) {
		case *redis.BoolCmd:
			if reply.Val() {
				changed++
			}
		case *redis.IntCmd:
			changed += int(reply.Val())
		case *redis.Cmd:
			if reply.Err() == nil {
				changed++
			}
		}
	}
	return changed
}
