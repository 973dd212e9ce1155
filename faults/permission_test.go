package faults

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestRestrictedUser has a user put records who may not see those of others, which
// have expired. What put.lua may not look at fails no put.
func TestRestrictedUser(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := server.Client(t)
		table := newRow(t, "puts of a user who may not see the records of others")
		options := wildkey.Options{Namespace: "app", TTL: time.Hour, Preloaded: true}
		const puts = 1_000
		others, err := wildkey.New(client, wildkey.Options{Namespace: "app"})
		must(t, err)
		must(t, others.Load(ctx))
		var records []wildkey.Record
		for n := range puts {
			records = append(records, wildkey.Record{Key: wildkey.K("order", n), TTL: time.Hour})
		}
		must(t, first(others.PutEach(ctx, all(records), nil)))
		must(t, first(others.TouchMatch(ctx, time.Millisecond, everything)))
		waitFor(t, func() bool { return client.DBSize(ctx).Val() == 1 })

		must(t, client.Do(ctx, restrictedUser(server.Program)...).Err())
		restricted := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "restricted", Password: "secret"})
		defer restricted.Close()
		cache, err := wildkey.New(restricted, options)
		must(t, err)
		for n := range puts {
			key := wildkey.K("user", n)
			err := cache.Put(ctx, wildkey.Record{Key: key, Value: []byte("mine")})
			if table.told[kindOf(err)]++; err == nil {
				table.acknowledged++
			}
			if value, err := cache.Get(ctx, key); string(value) != "mine" || err != nil {
				t.Errorf("after Put of %s Get finds %q, %v", key, value, err)
			}
		}
		onlySay(t, table, "done")
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("user:**")); n != puts || err != nil {
			t.Errorf("Count of the user's own records: %d, %v", n, err)
		}

		refused := 0
		entries, err := client.ACLLog(ctx, 1_000).Result()
		must(t, err)
		for _, entry := range entries {
			if entry.Username == "restricted" && entry.Reason == "key" {
				refused += int(entry.Count)
			}
		}
		if refused == 0 {
			t.Error("no put has looked at records of others")
		}
		report, err := checkInvariant(client)
		must(t, err)
		if tool := checkWithTool(t, client, options); len(report.Breaches)+tool > 0 {
			t.Errorf("wildkey check reports %d breaches, and there are %q", tool, report.Breaches)
		}
		table.rounds, table.records, table.stale = 1, report.Records, report.Stale()
		table.found = fmt.Sprintf("%d looks at records of others refused", refused)
		if n, err := others.Sweep(ctx); n != report.Stale() || err != nil {
			t.Errorf("Sweep drops %d of %d stale entries, %v", n, report.Stale(), err)
		}
	})
}

// restrictedUser is the command that makes a user who has the index and the records
// below user, and may call what put.lua and match.lua do.
func restrictedUser(program redisserver.Program) []any {
	command := []any{"ACL", "SETUSER", "restricted", "on", ">secret", "~{app}/keys", "~{app}:user:*", "+evalsha", "+get"}
	if !program.Before(7, 0) {
		command = append(command, "+evalsha_ro")
	}
	list := regexp.MustCompile(`(?m)^-- COMMANDS +(.*)$`)
	for _, script := range wildkey.Scripts() {
		if script.Name != "put" && script.Name != "match" {
			continue
		}
		for _, name := range strings.Fields(list.FindStringSubmatch(script.Source)[1]) {
			command = append(command, "+"+strings.ToLower(name))
		}
	}
	return command
}
