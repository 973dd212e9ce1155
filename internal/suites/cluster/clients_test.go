package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// newRing starts servers and returns a Ring of them.
func newRing(t *testing.T, p redisserver.Program, n int) (*redis.Ring, []*redisserver.Server) {
	t.Helper()
	servers, addrs := []*redisserver.Server{}, map[string]string{}
	for range n {
		server, err := p.Run()
		backend.Must(t, err)
		t.Cleanup(server.Close)
		servers, addrs[server.Addr] = append(servers, server), server.Addr
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: addrs, HeartbeatFrequency: 20 * time.Millisecond})
	t.Cleanup(func() { ring.Close() })
	return ring, servers
}

// TestRing runs every verb on a Ring, which Load loads the scripts on all of.
func TestRing(t *testing.T) {
	redisserver.EachProgram(t, func(t *testing.T, p redisserver.Program) {
		for _, shards := range []int{1, 7} {
			ring, servers := newRing(t, p, 3)
			backend.Must(t, backend.Cache(t, ring, wildkey.Options{}).Load(ctx))
			holdScripts(t, servers...)
			preloaded := backend.Cache(t, ring, wildkey.Options{Preloaded: true})
			backend.Must(t, preloaded.Load(ctx))
			flushScripts(t, servers[1])
			if err := preloaded.Load(ctx); !errors.Is(err, wildkey.ErrScriptMissing) {
				t.Errorf("Load of a preloaded Cache, where one server has no script: %v", err)
			}
			t.Run(fmt.Sprint(shards), func(t *testing.T) { testVerbs(t, ring, wildkey.Options{Shards: shards, ShardSegments: 1}) })
		}
	})
}

// TestRingServerGone: what a server had is gone with it, and its keys go to others.
// It comes back without scripts and without records.
func TestRingServerGone(t *testing.T) {
	redisserver.EachProgram(t, func(t *testing.T, p redisserver.Program) {
		ring, servers := newRing(t, p, 3)
		cache := backend.Cache(t, ring, wildkey.Options{Shards: 48})
		written := func() bool {
			for n := range 100 {
				if cache.Put(ctx, backend.Rec(wildkey.K(n), "v")) != nil {
					return false
				}
			}
			n, err := cache.Count(ctx, everything)
			return n == 100 && err == nil
		}
		if !written() {
			t.Fatal("the records cannot be written")
		}
		servers[0].Kill()
		backend.Eventually(t, "the Ring does without the server", written)
		backend.Must(t, servers[0].Restart())
		backend.Eventually(t, "the Ring is whole", func() bool { return ring.Len() == 3 })
		if !written() {
			t.Error("a server that came back without scripts fails calls")
		}
		if n, err := cache.DeleteMatch(ctx, everything); n != 100 || err != nil {
			t.Errorf("DeleteMatch: %d, %v", n, err)
		}
	})
}

// TestFailoverClients runs every verb on the clients that ask a Sentinel, before and
// after a failover.
func TestFailoverClients(t *testing.T) {
	redisserver.EachWatched(t, func(t *testing.T, w *redisserver.Watched) {
		options := func() *redis.FailoverOptions {
			return &redis.FailoverOptions{MasterName: w.Name, SentinelAddrs: []string{w.Sentinel.Addr}}
		}
		universal := redis.NewUniversalClient(&redis.UniversalOptions{MasterName: w.Name, Addrs: []string{w.Sentinel.Addr}})
		for _, row := range []struct {
			name     string
			client   redis.UniversalClient
			failover bool // it takes some 10 s
		}{
			{"NewFailoverClient", redis.NewFailoverClient(options()), true},
			{"NewFailoverClusterClient", redis.NewFailoverClusterClient(options()), true},
			{"NewUniversalClient", universal, false},
			{"wrapped", struct{ *redis.ClusterClient }{redis.NewFailoverClusterClient(options())}, false},
		} {
			t.Cleanup(func() { row.client.Close() })
			t.Run(row.name, func(t *testing.T) {
				testVerbs(t, row.client, wildkey.Options{Shards: 7, ShardSegments: 1})
				backend.Must(t, redis.NewClient(&redis.Options{Addr: w.Master(t)}).FlushAll(ctx).Err())
				if row.failover {
					testFailover(t, w, row.client)
				}
			})
		}
	})
}

// testFailover puts pairs of records while the replica takes over. Each pair is
// there as a whole, or not at all, and all verbs go on.
func testFailover(t *testing.T, w *redisserver.Watched, client redis.UniversalClient) {
	cache := backend.Cache(t, client, wildkey.Options{Namespace: "pairs"})
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Add(1)
	go func() {
		defer group.Done()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			// Errors are the servers' while they change places.
			_ = cache.Put(ctx, backend.Rec(wildkey.K(n, "a"), "v"), backend.Rec(wildkey.K(n, "b"), "v"))
		}
	}()
	w.Failover(t)
	backend.Eventually(t, "calls succeed", func() bool {
		return cache.Put(ctx, backend.Rec(wildkey.K("last"), "v")) == nil
	})
	close(stop)
	group.Wait()
	first := wildkey.MustParsePattern("*:a")
	backend.Eventually(t, "pages succeed", func() bool { _, err := cache.Count(ctx, first); return err == nil })
	found, err := cache.Collect(ctx, wildkey.MustParsePattern("*:*"))
	backend.Must(t, err)
	halves := map[string]int{}
	for _, entry := range found {
		halves[entry.Key[0]]++
	}
	for n, records := range halves {
		if records != 2 {
			t.Errorf("of pair %s there are %d records", n, records)
		}
	}
	if n, err := cache.DeleteMatch(ctx, everything); n != len(found)+1 || err != nil {
		t.Errorf("DeleteMatch: %d, %v, want %d", n, err, len(found)+1)
	}
}

// TestReindexOfOneNode refuses a client of one node of a cluster, which would find
// a part of the records.
func TestReindexOfOneNode(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, c *redisserver.Cluster) {
		cache := backend.Cache(t, c.Client(t, nil), wildkey.Options{Shards: 48})
		for n := range 100 {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
		}
		n, err := admin.Reindex(ctx, c.Nodes[0].Client(t), cache.Layout())
		if n != 0 || err == nil || !strings.Contains(err.Error(), "ClusterClient") {
			t.Errorf("Reindex of one node: %d, %v", n, err)
		}
		one := backend.Cache(t, c.Client(t, nil), wildkey.Options{Namespace: "one"})
		backend.Must(t, one.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		owner, err := c.Owner(one.Layout().Index(0))
		backend.Must(t, err)
		if n, err := admin.Reindex(ctx, owner.Client(t), one.Layout()); n != 1 || err != nil {
			t.Errorf("Reindex of the node that has all shards: %d, %v", n, err)
		}
	})
}

// demoted answers as a master that was made a replica does: scripts that write are
// refused, in the words of a version.
func demoted(t *testing.T, refusal string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	backend.Must(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func() {
				buffer := make([]byte, 1<<16)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						return
					}
					reply := "-ERR unknown command\r\n"
					if bytes.Contains(bytes.ToLower(buffer[:n]), []byte("evalsha")) {
						reply = "-" + refusal + "\r\n"
					}
					// A pipeline greets each connection: one answer a command.
					if _, err := conn.Write(bytes.Repeat([]byte(reply), max(1, bytes.Count(buffer[:n], []byte("*"))))); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// TestDemotedMaster: behind a name that leads to another server after a failover, the
// pool drops the connections to the server that is a replica now, in the words of
// Redis 6.2, which wraps what a script meets, and of later ones.
func TestDemotedMaster(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		const readOnly = "READONLY You can't write against a read only replica."
		for _, refusal := range []string{
			readOnly,
			"ERR Error running script (call to f_28aedc15aa391b22283115f4ba4e8b5d9d0f3e0f): @user_script:98: @user_script: 98: -" + readOnly,
		} {
			old := demoted(t, refusal)
			var mu sync.Mutex
			leads := old
			client := redis.NewClient(&redis.Options{
				Addr: "name:6379", MaxRetries: -1, PoolSize: 1, Protocol: 2, DisableIdentity: true,
				Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
					mu.Lock()
					defer mu.Unlock()
					return new(net.Dialer).DialContext(ctx, network, leads)
				},
			})
			cache := backend.Cache(t, client, wildkey.Options{})
			put := func() error { return cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")) }
			if err := put(); !redis.IsReadOnlyError(err) {
				t.Errorf("%s: Put on the old master: %v", refusal, err)
			}
			mu.Lock()
			leads = server.Addr
			mu.Unlock()
			var err error
			for range 3 { // the first may yet meet an open connection
				if err = put(); err == nil {
					break
				}
			}
			if err != nil {
				t.Errorf("%s: Put after the failover: %v", refusal, err)
			}
			client.Close()
		}
	})
}

// notingConn tells when a script call has been written.
type notingConn struct {
	net.Conn
	written chan<- struct{}
}

func (c notingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if bytes.Contains(b, []byte("evalsha")) {
		c.written <- struct{}{}
	}
	return n, err
}

// TestContextOfACallUnderWay is what the page says of contexts: a deadline ends a
// call that has been sent only with ContextTimeoutEnabled, and cancelling ends none.
func TestContextOfACallUnderWay(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		for _, enabled := range []bool{false, true} {
			written := make(chan struct{}, 10)
			client := redis.NewClient(&redis.Options{
				Addr: server.Addr, ContextTimeoutEnabled: enabled, ReadTimeout: time.Minute, MaxRetries: -1,
				Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, addr)
					return notingConn{conn, written}, err
				},
			})
			cache := backend.Cache(t, client, wildkey.Options{})
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
			for len(written) > 0 {
				<-written
			}
			put := func(ctx context.Context) <-chan error {
				outcome := make(chan error, 1)
				go func() { outcome <- cache.Put(ctx, backend.Rec(wildkey.K("a"), "w")) }()
				return outcome
			}
			backend.Must(t, server.Pause())
			canceled, cancel := context.WithCancel(ctx)
			outcome := put(canceled)
			<-written
			cancel()
			backend.Must(t, server.Resume())
			if err := <-outcome; err != nil {
				t.Errorf("ContextTimeoutEnabled %t: a Put whose context was canceled on its way: %v", enabled, err)
			}
			backend.Must(t, server.Pause())
			short, cancel := context.WithTimeout(ctx, 2*time.Second) // long enough to be sent
			outcome = put(short)
			<-written
			var err error
			if enabled {
				err = <-outcome
			} else {
				<-short.Done()
			}
			backend.Must(t, server.Resume())
			if !enabled {
				err = <-outcome
			}
			if cancel(); (err != nil) != enabled {
				t.Errorf("ContextTimeoutEnabled %t: a Put whose deadline passed on its way: %v", enabled, err)
			}
			client.Close()
		}
	})
}
