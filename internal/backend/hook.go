package backend

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Hook sees every round trip of a client: a command, or those of a pipeline.
type Hook struct{ Before, After func([]redis.Cmder) }

// DialHook sees no dialing.
func (h Hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook sees one command.
func (h Hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		return h.around([]redis.Cmder{command}, func() error { return next(ctx, command) })
	}
}

// ProcessPipelineHook sees the commands of a pipeline.
func (h Hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		return h.around(commands, func() error { return next(ctx, commands) })
	}
}

func (h Hook) around(commands []redis.Cmder, send func() error) error {
	// go-redis greets each new connection by itself: that is no round trip of ours.
	own := !slices.Contains([]string{"hello", "client"}, commands[0].Name())
	if own && h.Before != nil {
		h.Before(commands)
	}
	err := send()
	if len(commands) == 1 && err != nil {
		commands[0].SetErr(err) // go-redis does so only behind its hooks
	}
	if own && h.After != nil {
		h.After(commands)
	}
	return err
}

// Answer is a hook that may answer a command in the place of the server, by
// setting its error and returning it.
type Answer func(cmd redis.Cmder) error

// DialHook sees no dialing.
func (a Answer) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook asks for an answer before a command is sent.
func (a Answer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := a(cmd); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook sees no pipelines.
func (a Answer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// CountCalls counts the round trips of the backend's client from now on.
func (b *Backend) CountCalls() *atomic.Int64 {
	calls := new(atomic.Int64)
	b.Client.AddHook(Hook{Before: func([]redis.Cmder) { calls.Add(1) }})
	return calls
}

// NewClient returns one more client of the server, with some options changed.
func (b *Backend) NewClient(t testing.TB, change func(*redis.Options)) *redis.Client {
	t.Helper()
	options := *b.Client.Options()
	options.PushNotificationProcessor = nil // each client registers its handlers with its own
	change(&options)
	client := redis.NewClient(&options)
	t.Cleanup(func() { client.Close() })
	return client
}

// Hooked returns one more client of the server, which has a hook.
func (b *Backend) Hooked(t testing.TB, h Hook) *redis.Client {
	t.Helper()
	client := b.NewClient(t, func(*redis.Options) {})
	client.AddHook(h)
	return client
}
