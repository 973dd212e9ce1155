package reference

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/reference"
	"github.com/wildkey/wildkey/writer"
)

func TestFlawPutRacingDelete(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		// Redis may run the delete between any two commands of the put.
		r := newReference(b)
		key := []string{"user", "1"}
		put := r.PutCommands(time.Hour, refRecord(key, "v"))
		last := len(put) - 1
		for _, command := range slices.Concat(put[:last], r.DeleteCommands(key), put[last:]) {
			b.Do(t, command...)
		}
		wantValue(t, r, key, "v")
		wantFound(t, r, reference.Wild)

		// A put and a delete are one command each: nothing can come in between,
		// in whatever order calls arrive.
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		var sent []string
		hooked := backend.Cache(t, b.Hooked(t, backend.Hook{After: func(commands []redis.Cmder) {
			for _, command := range commands {
				sent = append(sent, command.Name())
			}
		}}), wildkey.Options{})
		keys := []wildkey.Key{wildkey.K("user", 1), wildkey.K("user", 2), wildkey.K("user", 3)}
		backend.Must(t, hooked.Put(ctx, backend.Rec(keys[0], "v"), backend.Rec(keys[1], "v"), backend.Rec(keys[2], "v")))
		_, err := hooked.Delete(ctx, keys...)
		backend.Must(t, err)
		if !slices.Equal(sent, []string{"evalsha", "evalsha"}) {
			t.Errorf("a Put and a Delete send %q", sent)
		}

		var running sync.WaitGroup
		for worker := range 4 {
			running.Add(1)
			go func() {
				defer running.Done()
				for i := range 100 {
					key, other := keys[(i+worker)%3], keys[(i+worker+1)%3]
					err := cache.Put(ctx, backend.Rec(key, "v"), backend.Rec(other, "v"))
					if (i+worker)%2 == 0 {
						_, err = cache.Delete(ctx, key)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		running.Wait()
		b.CheckInvariant(t)
		var want []string
		for _, key := range keys {
			if value, err := cache.Get(ctx, key); err == nil {
				want = append(want, key.String()+"="+string(value))
			}
		}
		backend.WantAll(t, cache, "**", want...)
	})
}

func TestFlawBrokenConnectionStoresHalf(t *testing.T) {
	keys := []string{"a", "b", "c"}
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		backend.Must(t, b.Cache(t, wildkey.Options{}).Load(ctx))

		halves := 0
		atEveryCut(t, b, func(client *redis.Client) error {
			r := newReference(b)
			r.Client = client
			return r.Put(ctx, time.Hour, refRecord("a", "v"), refRecord("b", "v"), refRecord("c", "v"))
		}, func(client *redis.Client, cut int64) {
			r := newReference(b)
			r.Client = client
			stored := 0
			for _, key := range keys {
				if _, err := r.Get(ctx, key); err == nil {
					stored++
				}
			}
			if 0 < stored && stored < len(keys) {
				halves++
			}
		})
		if halves == 0 {
			t.Error("reference: no cut stores a part of the batch")
		}

		whole, none := 0, 0
		atEveryCut(t, b, func(client *redis.Client) error {
			cache := backend.Cache(t, client, wildkey.Options{})
			return cache.Put(ctx, backend.Rec(wildkey.K("a"), "v"), backend.Rec(wildkey.K("b"), "v"), backend.Rec(wildkey.K("c"), "v"))
		}, func(client *redis.Client, cut int64) {
			values, err := backend.Cache(t, client, wildkey.Options{}).GetMany(ctx, wildkey.K("a"), wildkey.K("b"), wildkey.K("c"))
			backend.Must(t, err)
			switch text := fmt.Sprintf("%s", values); text {
			case "[v v v]":
				whole++
			case "[  ]":
				none++
			default:
				t.Errorf("after %d bytes: %s is stored", cut, text)
			}
			for _, breach := range backend.Breaches(t, client) {
				t.Errorf("after %d bytes: %s", cut, breach)
			}
		})
		if whole == 0 || none == 0 {
			t.Errorf("%d cuts leave all, %d none: the cuts miss the call", whole, none)
		}
	})
}

func TestFlawDeleteHidesErrors(t *testing.T) {
	t.Run("wrong type", func(t *testing.T) {
		backend.Each(t, func(t *testing.T, b *backend.Backend) {
			r := newReference(b)
			backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "v")))
			b.Do(t, "SET", reference.IndexName([]string{r.Namespace}), "no sorted set")
			if err := r.Pipeline(ctx, r.DeleteCommands("k")); !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Fatalf("reference: the server says %v to a delete", err)
			}
			if err := r.Delete(ctx, "k"); err != nil {
				t.Errorf("reference: a delete that the server refuses returns %v", err)
			}

			cache := b.Cache(t, wildkey.Options{})
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("k"), "v")))
			b.Do(t, "SET", "{test}/keys", "no sorted set")
			if _, err := cache.Delete(ctx, wildkey.K("k")); !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Errorf("a delete that the server refuses returns %v", err)
			}
		})
	})
	// The engine has no users. This is what matters: a log-out that was none.
	t.Run("no permission", func(t *testing.T) {
		backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
			b.Do(t, "ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", "+@all", "-del", "-unlink", "-zrem")
			reader := b.NewClient(t, func(o *redis.Options) { o.Username, o.Password = "reader", "secret" })

			r := newReference(b)
			backend.Must(t, r.Put(ctx, time.Hour, refRecord("session", "v")))
			r.Client = reader
			if err := r.Pipeline(ctx, r.DeleteCommands("session")); !redis.HasErrorPrefix(err, "NOPERM") {
				t.Fatalf("reference: the server says %v to a delete", err)
			}
			if err := r.Delete(ctx, "session"); err != nil {
				t.Errorf("reference: a delete that the server refuses returns %v", err)
			}
			wantValue(t, r, "session", "v")

			cache := b.Cache(t, wildkey.Options{})
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("session"), "v")))
			n, err := backend.Cache(t, reader, wildkey.Options{}).Delete(ctx, wildkey.K("session"))
			var refusal redis.Error
			if !errors.As(err, &refusal) || n != 0 {
				t.Errorf("a delete that the server refuses returns %d, %v", n, err)
			}
			backend.WantAll(t, cache, "*", "session=v")
		})
	})
}

func TestFlawAsyncChangesOrder(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		// Of two writes of one key the first is slow on its way to the server.
		slowFirst := func() (client *redis.Client, entered, release chan struct{}) {
			entered, release = make(chan struct{}), make(chan struct{})
			var first sync.Once
			return b.Hooked(t, backend.Hook{Before: func([]redis.Cmder) {
				slow := false
				first.Do(func() { slow = true }) // not inside Do, which would hold up the second
				if slow {
					close(entered)
					<-release
				}
			}}), entered, release
		}

		r := newReference(b)
		client, entered, release := slowFirst()
		r.Client = client
		done := make(chan struct{})
		r.Start = func(task func()) {
			go func() { task(); done <- struct{}{} }()
		}
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "first")))
		<-entered
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "second")))
		<-done
		close(release)
		<-done
		wantValue(t, r, "k", "first")

		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		client, entered, release = slowFirst()
		w := writer.New(backend.Cache(t, client, wildkey.Options{}), writer.Options{})
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("k"), "first"), backend.Rec(wildkey.K("gone"), "v")))
		<-entered
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("k"), "second")))
		backend.Must(t, w.Delete(ctx, wildkey.K("gone")))
		close(release)
		backend.Must(t, w.Close(ctx))
		backend.WantAll(t, cache, "*", "k=second")
	})
}

// atEveryCut makes a call over a connection that breaks after 0, 1, 2... bytes
// of it were sent, up to all of them, each time on an empty keyspace, and has
// the result checked over a whole one.
func atEveryCut(t *testing.T, b *backend.Backend, call func(*redis.Client) error, check func(client *redis.Client, cut int64)) {
	t.Helper()
	const uncut = 1 << 30
	var budget atomic.Int64
	length := int64(1)
	for cut := int64(-1); cut <= length; cut++ {
		on := *b
		if b.Engine != nil {
			on.Engine = b.Engine.Clone()
			on.Client = on.Engine.Client()
		} else {
			b.Do(t, "FLUSHALL")
		}
		budget.Store(uncut)
		client := on.NewClient(t, func(o *redis.Options) {
			o.MaxRetries, o.PoolSize, o.ReadTimeout = -1, 1, time.Minute
			dial := o.Dialer
			o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				return &breakingConn{conn, &budget}, err
			}
		})
		backend.Must(t, client.Ping(ctx).Err())
		if cut < 0 { // the length of the call
			budget.Store(uncut)
			backend.Must(t, call(client))
			length = uncut - budget.Load()
		} else {
			budget.Store(cut)
			if err := call(client); err == nil {
				t.Errorf("no error, after %d bytes of %d", cut, length)
			}
		}
		client.Close()
		if b.Engine != nil {
			// Close waits until the engine has run all that reached it.
			on.Client.Close()
			on.Engine.Close()
			on.Engine = on.Engine.Clone()
			on.Client = on.Engine.Client()
		}
		if cut >= 0 {
			check(on.Client, cut)
		}
		if b.Engine != nil {
			on.Client.Close()
			on.Engine.Close()
		}
	}
	if length < 100 {
		t.Fatalf("the call has %d bytes", length)
	}
}

// breakingConn breaks when so many more bytes have been written.
type breakingConn struct {
	net.Conn
	budget *atomic.Int64
}

func (c *breakingConn) Write(p []byte) (n int, err error) {
	left := c.budget.Load()
	if int64(len(p)) < left {
		c.budget.Add(-int64(len(p)))
		return c.Conn.Write(p)
	}
	if left > 0 {
		n, err = c.Conn.Write(p[:left])
	}
	c.budget.Store(0)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		// When the server closes its end, it has run all that reached it.
		tcp.CloseWrite()
		_, err = io.Copy(io.Discard, tcp)
	}
	c.Conn.Close()
	if n < len(p) && err == nil {
		err = net.ErrClosed
	}
	return n, err
}
