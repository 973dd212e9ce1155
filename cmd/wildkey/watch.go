package main

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// watch has done called after each call of a script, or of ZADD, with the index
// and how many records it named, leases left out, or for match how many index entries it
// read: the progress of what a Cache or package admin does whole. Several calls may be under
// way at a time.
func (s *session) watch(ctx context.Context, name string, done func(index string, n int)) error {
	hook := callHook{done: done}
	for _, script := range wildkey.Scripts() {
		if script.Name == name {
			hook.script = script
		}
	}
	masters, err := s.nodes(ctx, true)
	for _, master := range masters {
		master.AddHook(hook)
	}
	return err
}

// callHook sees the calls of a script, or without one those of ZADD.
type callHook struct {
	script wildkey.Script
	done   func(index string, n int)
}

func (h callHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil {
			return err
		}
		args := cmd.Args()
		switch {
		case h.script.Name == "" && strings.EqualFold(cmd.Name(), "zadd"): // index, score, member...
			n := 0
			for i := 3; i < len(args); i += 2 {
				n += notLease(args[i].(string))
			}
			h.done(args[1].(string), n)
		case len(args) > 3 && (args[1] == h.script.SHA1 || args[1] == h.script.Source): // n, index, record...
			index, n := args[3].(string), 0
			for _, name := range args[4 : 3+args[2].(int)] {
				n += notLease(strings.TrimPrefix(name.(string), strings.TrimSuffix(index, "/keys")+":"))
			}
			if reply, ok := cmd.(*redis.Cmd).Val().([]any); ok && args[2] == 1 {
				read, _ := reply[1].(int64)
				n = int(read)
			}
			h.done(index, n)
		}
		return nil
	}
}

// notLease returns 1 for an index entry of a record, and 0 for that of a lease.
func notLease(member string) int {
	if isLease(member) {
		return 0
	}
	return 1
}

func (h callHook) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

func (h callHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
