package main

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// watch has done called after each call of a script, with the number of
// records that the call named: the progress of a verb that a Cache does whole.
func (s *session) watch(script string, done func(records int)) {
	for _, known := range wildkey.Scripts() {
		if known.Name == script {
			s.client.AddHook(callHook{known.SHA1, done})
		}
	}
}

type callHook struct {
	sha1 string
	done func(records int)
}

func (h callHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		// EVALSHA sha1 numkeys order expiry record...
		args := cmd.Args()
		if err == nil && len(args) > 2 && strings.EqualFold(cmd.Name(), "evalsha") && args[1] == h.sha1 {
			if keys, ok := args[2].(int); ok && keys > 2 {
				h.done(keys - 2)
			}
		}
		return err
	}
}

func (h callHook) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

func (h callHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
