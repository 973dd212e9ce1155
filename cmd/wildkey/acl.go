package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// examineACL asks of each command that Wildkey calls whether this user may.
func (s *session) examineACL(ctx context.Context, home node, preloaded bool, all *findings) {
	reads, writes := s.commandsCalled(preloaded)
	user, err := home.Do(ctx, "ACL", "WHOAMI").Text()
	var noReads, noWrites []string
	if err == nil && !s.about.atLeast(7, 0) {
		err = errors.New("a server before Redis 7.0 cannot be asked")
	}
	if err == nil {
		noReads, err = deniedTo(ctx, home, user, reads)
	}
	if err == nil {
		noWrites, err = deniedTo(ctx, home, user, writes)
	}
	switch {
	case err != nil && s.mayNotRead(ctx, home):
		all.add("acl", problem, "grant the COMMANDS in the header of match.lua, and GET, MGET, EVALSHA_RO, EVALSHA",
			"this user may not read %s", s.tag)
	case err != nil:
		all.cannot("acl", err,
			"compare ACL GETUSER with the COMMANDS in the header of each script: wildkey scripts show put")
	case len(noReads) > 0:
		all.add("acl", problem, "grant the COMMANDS in the header of match.lua, and GET, MGET, EVALSHA_RO, EVALSHA",
			"user %s may not, on the keys of %s: %s", plain(user), s.tag, strings.Join(noReads, " "))
	case len(noWrites) > 0:
		all.add("acl", worth,
			"to let the user write, grant the COMMANDS in the header of each script: all of a script or none",
			"user %s may read; may not, on the keys of %s: %s", plain(user), s.tag, strings.Join(noWrites, " "))
	default:
		all.add("acl", fine, "", "user %s may call all that the verbs and the scripts call", plain(user))
	}
}

// mayNotRead tries a GET, and match.lua where it is loaded.
func (s *session) mayNotRead(ctx context.Context, home node) bool {
	if redis.HasErrorPrefix(home.Get(ctx, s.record("x")).Err(), "NOPERM") {
		return true
	}
	for _, script := range wildkey.Scripts() {
		if script.Name == "match" {
			err := home.EvalSha(ctx, script.SHA1, []string{s.order(), s.expiry()}, "count", "", 1, 1, 1, "=x").Err()
			return err != nil && strings.Contains(err.Error(), "NOPERM")
		}
	}
	return false
}

// deniedTo returns the names of those commands that the user may not call.
func deniedTo(ctx context.Context, home node, user string, commands [][]any) ([]string, error) {
	var denied []string
	for _, command := range commands {
		reply, err := home.Do(ctx, append([]any{"ACL", "DRYRUN", user}, command...)...).Text()
		if redis.HasErrorPrefix(err, "NOPERM") || ctx.Err() != nil {
			return nil, err
		}
		if err != nil || reply != "OK" {
			denied = append(denied, fmt.Sprint(command[0]))
		}
	}
	return denied, nil
}

// commandsCalled returns a call of each command that the verbs and the scripts
// call on this namespace, the scripts by their headers.
func (s *session) commandsCalled(preloaded bool) (reads, writes [][]any) {
	order, record := s.order(), s.record("x")
	reads = [][]any{{"EVALSHA_RO", "", 1, order}, {"GET", record}}
	writes = [][]any{{"EVALSHA", "", 1, order}}
	if !preloaded {
		reads = append(reads, []any{"SCRIPT", "LOAD", ""})
	}
	seen := map[string]bool{"GET": true}
	collect := func(script wildkey.Script, calls *[][]any) {
		_, header, _ := strings.Cut(script.Source, "-- COMMANDS ")
		names, _, _ := strings.Cut(header, "\n")
		for _, name := range strings.Fields(names) {
			if !seen[name] {
				seen[name] = true
				*calls = append(*calls, callOf(name, order, record))
			}
		}
	}
	for _, script := range wildkey.Scripts() {
		if script.Name == "match" {
			collect(script, &reads)
		}
	}
	for _, script := range wildkey.Scripts() {
		collect(script, &writes)
	}
	return reads, writes
}

// callOf returns a call with as many arguments as the command needs.
func callOf(command, order, record string) []any {
	arguments := map[string][]any{
		"PEXPIREAT":     {record, 1},
		"SET":           {record, ""},
		"TIME":          {},
		"ZADD":          {order, 0, "x"},
		"ZCOUNT":        {order, 0, 0},
		"ZCARD":         {order},
		"ZRANGEBYLEX":   {order, "-", "+"},
		"ZRANGEBYSCORE": {order, 0, 0},
		"ZREM":          {order, "x"},
		"ZSCORE":        {order, "x"},
	}
	if known, ok := arguments[command]; ok {
		return append([]any{command}, known...)
	}
	return []any{command, record} // EXISTS, UNLINK, PTTL and the like
}
