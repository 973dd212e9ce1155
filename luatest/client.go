package luatest

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Client returns a go-redis client of the engine, over pipes in memory. The
// caller closes it; once the engine is closed, its commands fail.
func (e *Engine) Client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:            "luatest",
		Protocol:        2,
		DisableIdentity: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return e.connect()
		},
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// connect returns the client's end of a new connection.
func (e *Engine) connect() (net.Conn, error) {
	e.connMu.Lock()
	defer e.connMu.Unlock()
	if e.closed {
		return nil, net.ErrClosed
	}
	client, server := net.Pipe()
	e.conns[server] = struct{}{}
	e.served.Add(1)
	go func() {
		defer e.served.Done()
		e.serve(server)
		e.connMu.Lock()
		delete(e.conns, server)
		e.connMu.Unlock()
	}()
	return client, nil
}
