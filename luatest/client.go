package luatest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Client returns a go-redis client that is connected to the engine through in-memory
// pipes. The caller must close it. Its commands fail after the engine is closed.
func (e *Engine) Client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:            "luatest",
		Protocol:        2,
		DisableIdentity: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return e.connect()
		},
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
			// Or go-redis asks DNS for the address.
			EndpointType: maintnotifications.EndpointTypeNone,
		},
	})
}

// Listen accepts clients in any language over RESP2 and returns the address where they
// connect. If the port is 0, as in Listen("127.0.0.1:0"), Listen chooses a free one.
// There is no password. Close ends it.
func (e *Engine) Listen(address string) (string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("luatest: %w", err)
	}
	accept := func() {
		for {
			conn, err := listener.Accept()
			switch {
			case err == nil:
				e.attend(conn, func() { e.serve(conn) })
			case errors.Is(err, net.ErrClosed):
				return
			default:
				time.Sleep(10 * time.Millisecond) // too many open files, which may pass
			}
		}
	}
	return listener.Addr().String(), e.attend(listener, accept)
}

// connect returns the client's end of a new connection.
func (e *Engine) connect() (net.Conn, error) {
	client, server := net.Pipe()
	return client, e.attend(server, func() { e.serve(server) })
}

// attend runs serve in the background, until it is done or Close closes what it
// serves. That of a closed engine is closed at once.
func (e *Engine) attend(served io.Closer, serve func()) error {
	e.connMu.Lock()
	defer e.connMu.Unlock()
	if e.closed {
		served.Close()
		return net.ErrClosed
	}
	e.open[served] = struct{}{}
	e.served.Add(1)
	go func() {
		defer e.served.Done()
		serve()
		e.connMu.Lock()
		delete(e.open, served)
		e.connMu.Unlock()
	}()
	return nil
}
