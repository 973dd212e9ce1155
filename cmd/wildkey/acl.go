package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// unlikeOthers are keys of which a pattern that does not end in * misses one, however it
// ends: by a character, by a class of them, or by a length.
var unlikeOthers = []string{"x", "7", "K-", "day:2024-03-01", "a_long.name~", "%FF"}

// readingLine is how to grant reading. The page's reader may not load scripts, so the doctor
// finds fault with that user, too, unless it is told.
const readingLine = "paste a line from scripts/AUDIT.md, under this user's name: " +
	"that for reader, and then give --preloaded here, or that for app"

// examineACL asks of each command that Wildkey calls whether this user may.
func (s *session) examineACL(ctx context.Context, home home, preloaded bool, all *findings) {
	user, err := home.Do(ctx, "ACL", "WHOAMI").Text()
	var noReads, noWrites, noPrefix, noLeases denied
	if err == nil && s.about.version != "" && !s.about.atLeast(7, 0) {
		err = errTooOld
	}
	for _, shard := range home.shards {
		tag := s.layout.Tag(shard)
		reads, writes := commandsCalled(s.layout.Index(shard), s.layout.Prefix(shard)+unlikeOthers[0], preloaded)
		for _, other := range unlikeOthers[1:] {
			moreReads, moreWrites := commandsCalled(s.layout.Index(shard), s.layout.Prefix(shard)+other, preloaded)
			reads, writes = append(reads, moreReads...), append(writes, moreWrites...)
		}
		if err == nil {
			err = noReads.ask(ctx, home.node, user, tag, reads)
		}
		if err == nil {
			err = noWrites.ask(ctx, home.node, user, tag, writes)
		}
		if err == nil && len(noWrites.commands) > 0 {
			_, writes = commandsCalled(s.layout.Index(shard), s.layout.Prefix(shard), preloaded)
			err = noPrefix.ask(ctx, home.node, user, tag, writes)
		}
		if err == nil {
			reads, writes = commandsCalled(s.layout.Index(shard), s.layout.Prefix(shard)+"!x", preloaded)
			err = noLeases.ask(ctx, home.node, user, tag, slices.Concat(reads, writes))
		}
	}
	switch {
	case err != nil && s.mayNotRead(ctx, home):
		all.add("acl", problem, readingLine,
			"this user may not read %s", some(home.tags))
	case err != nil:
		all.cannot("acl", err,
			"compare ACL GETUSER with the lines in scripts/AUDIT.md")
	case slices.ContainsFunc(noWrites.commands, func(name string) bool { return !slices.Contains(noPrefix.commands, name) }):
		all.add("acl", problem,
			"take away what allows the bare prefix alone: a key pattern that does not end in *, a selector, "+
				"or a rule for a first argument",
			"user %s may write to the bare prefix and not to all records, so a call may stop half way; the user may not call, %s",
			plain(user), noWrites)
	case len(noReads.commands) > 0:
		all.add("acl", problem, readingLine, "user %s may not call, %s", plain(user), noReads)
	case len(noWrites.commands) > 0:
		all.add("acl", worth,
			"to let the user write, paste the line for app from scripts/AUDIT.md, under this user's name",
			"user %s may read, but may not call, %s", plain(user), noWrites)
	case len(noLeases.commands) > 0:
		all.add("acl", worth,
			"beside each key pattern of records, such as ~"+s.layout.Prefix(0)+"user:*, grant that of their leases, ~"+
				s.layout.Prefix(0)+"!user:*",
			"user %s may write records, but not the leases of package fetch, which put, import and rm write too; the user may not call, %s",
			plain(user), noLeases)
	default:
		all.add("acl", fine, "", "user %s may call all commands that the verbs and the scripts call", plain(user))
	}
}

// mayNotRead tries a GET, and match.lua where it is loaded.
func (s *session) mayNotRead(ctx context.Context, home home) bool {
	return redis.HasErrorPrefix(home.Get(ctx, s.layout.Prefix(home.shards[0])+"x").Err(), "NOPERM") ||
		strings.Contains(text(s.tryMatch(ctx, home)), "NOPERM")
}

// denied is which commands the user may not call, and on the keys of which shards.
type denied struct{ commands, tags []string }

func (d denied) String() string {
	return fmt.Sprintf("on the keys of %s: %s", some(d.tags), strings.Join(d.commands, " "))
}

// ask asks about commands on the keys of a shard.
func (d *denied) ask(ctx context.Context, home node, user, tag string, commands [][]any) error {
	replies := make([]*redis.Cmd, len(commands))
	_, err := home.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, command := range commands {
			replies[i] = p.Do(ctx, append([]any{"ACL", "DRYRUN", user}, command...)...)
		}
		return nil
	})
	var refused redis.Error
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for i, command := range commands {
		reply, err := replies[i].Text()
		if err != nil && !redis.HasErrorPrefix(err, "Command '") { // the server has no such command
			return err
		}
		if err == nil && reply == "OK" {
			continue
		}
		if name := fmt.Sprint(command[0]); !slices.Contains(d.commands, name) {
			d.commands = append(d.commands, name)
		}
		if !slices.Contains(d.tags, tag) {
			d.tags = append(d.tags, tag)
		}
	}
	return nil
}

// commandsCalled returns a call of each command that the verbs and the scripts
// call on a shard, the scripts by their headers.
func commandsCalled(index, record string, preloaded bool) (reads, writes [][]any) {
	reads = [][]any{{"EVALSHA_RO", "", 1, index}, {"GET", record}}
	writes = [][]any{{"EVALSHA", "", 1, index}, {"GETEX", record}}
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
				*calls = append(*calls, callOf(name, index, record))
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
func callOf(command, index, record string) []any {
	arguments := map[string][]any{
		"PEXPIRE":     {record, 1},
		"SET":         {record, ""},
		"ZADD":        {index, 0, "x"},
		"ZCARD":       {index},
		"ZRANDMEMBER": {index},
		"ZRANGEBYLEX": {index, "-", "+"},
		"ZREM":        {index, "x"},
	}
	if known, ok := arguments[command]; ok {
		return append([]any{command}, known...)
	}
	return []any{command, record} // EXISTS, UNLINK, PTTL and the like
}
