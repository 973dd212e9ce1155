package main

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// watch has done called after each call of a script, or of ZADD, with the index
// and how many records it named, or for match how many index entries it read: the
// progress of what a Cache or package admin does whole. Several calls may be under
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
			h.done(args[1].(string), (len(args)-2)/2)
		case len(args) > 3 && (args[1] == h.script.SHA1 || args[1] == h.script.Source): // n, index, record...
			n := args[2].(int) - 1
			if reply, ok := cmd.(*redis.Cmd).Val().([]any); ok && n == 0 {
				read, _ := reply[1].(int64)
				n = int(read)
			}
			h.done(args[3].(string), n)
		}
		return nil
	}
}

func (h callHook) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

func (h callHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
