package faults

import (
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
			fault string
			ends  bool // the records
			do    func(pipe redis.Pipeliner, name string)
		}{
			{"PERSIST by hand", false, func(pipe redis.Pipeliner, name string) { pipe.Persist(ctx, name) }},
			{"EXPIRE by hand, to hours", false, func(pipe redis.Pipeliner, name string) { pipe.Expire(ctx, name, 5*time.Hour) }},
			{"EXPIRE by hand, to a millisecond", true, func(pipe redis.Pipeliner, name string) {
				pipe.PExpire(ctx, name, time.Millisecond)
			}},
			{"SET by hand over live records", false, func(pipe redis.Pipeliner, name string) {
				pipe.Eval(ctx, setAgain, []string{name})
			}},
			{"DEL by hand", true, func(pipe redis.Pipeliner, name string) { pipe.Del(ctx, name) }},
		} {
			l := newLoad(t, client, loadOptions{evicts: way.ends})
			table := newRow(t, way.fault)
			commands := 0
			for range rounds(3, 20) {
				l.during(func() {
					for range 10 {
						if !l.waitForWrites(50) {
							t.Error("no load")
						}
						commands += byHand(t, client, l.cache.Layout(), way.do)
					}
				})
				table.add(l, l.judgeWhole(t, client))
			}
			if onlySay(t, table, "done"); commands == 0 {
				t.Error("there was no record to change")
			}
			table.found = thousands(commands) + " commands by hand"
			l.mustDelete(t, client)
		}
	})
}

// byHand sends a command for each of a third of the records, and returns how many
// they are.
func byHand(t *testing.T, client *redis.Client, layout wildkey.Layout, do func(redis.Pipeliner, string)) int {
	t.Helper()
	replies, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, name := range client.Keys(ctx, layout.Prefix(0)+"*").Val() {
			if rand.IntN(3) == 0 {
				do(pipe, name)
			}
		}
		return nil
	})
	if err != nil && err != redis.Nil { // the record has gone before SET
		t.Fatal(err)
	}
	return len(replies)
}
