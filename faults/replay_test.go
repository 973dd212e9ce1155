package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// claim turns the record, if it is waiting, into that of a claim, and reports
// whether it is. The text of a claim is one that no other claim has. After an
// error, claim may be called again with the same text, until there is none.
func claim(ctx context.Context, cache *wildkey.Cache, job wildkey.Key, text string) (bool, error) {
	record := wildkey.Record{Key: job, Value: []byte(text), If: wildkey.Equal([]byte("waiting"))}
	if err := cache.Put(ctx, record); !errors.Is(err, wildkey.ErrCondition) {
		return err == nil, err
	}
	// It is another's, or its own: written by this call, which was sent twice.
	value, err := cache.Get(ctx, job)
	if errors.Is(err, wildkey.ErrNotFound) {
		return false, nil
	}
	return string(value) == text, err
}

// TestClaimIsTheDocumentedOne holds claim against the one of the package's examples.
func TestClaimIsTheDocumentedOne(t *testing.T) {
	body := regexp.MustCompile(`(?ms)^func claim\(.*?^}`)
	var found [2]string
	for i, path := range []string{"../example_test.go", "replay_test.go"} {
		source, err := os.ReadFile(path)
		must(t, err)
		found[i] = body.FindString(string(source))
	}
	if diff := cmp.Diff(found[0], found[1]); diff != "" || found[0] == "" {
		t.Errorf("(-example +tested)\n%s", diff)
	}
}

// until makes the call until it returns no error, as a caller does who wants to
// know what has become of it.
func until(call func() (bool, error)) (ok bool, err error) {
	for range 5 {
		if ok, err = call(); err == nil {
			return ok, nil
		}
	}
	return false, err
}

// TestReplayed cuts a connection at every byte of a call, and has it made again:
// by go-redis, or by the caller. What is told of it may be wrong in just the ways
// that the documentation says, and never for a claim.
func TestReplayed(t *testing.T) {
	for _, way := range []struct {
		fault   string
		retries int
	}{{"reply lost, go-redis sends the call again", 3}, {"reply lost, the caller sends the call again", -1}} {
		t.Run(fmt.Sprint("retries ", way.retries), func(t *testing.T) {
			eachServer(t, func(t *testing.T, server *redisserver.Server) {
				direct := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: 1})
				t.Cleanup(func() { direct.Close() })
				r := replayed{on: newCaches(t, direct), through: newProxy(t, server.Addr), retries: way.retries}
				must(t, r.on.first.Load(ctx))
				r.table = newRow(t, way.fault)
				r.table.found = "each call done, each claim by who was told so"
				for _, direction := range []string{requests, replies} {
					r.direction = direction
					r.all(t)
				}
			})
		})
	}
}

type replayed struct {
	on        caches // goes straight to the server
	through   proxy
	retries   int
	direction string
	table     *row
}

func (r *replayed) all(t *testing.T) {
	key := session("a")
	for _, one := range []struct {
		name  string
		call  func(cache *wildkey.Cache) (told bool, err error)
		left  string // by the call, or the call that was sent twice
		wrong bool   // it may be told that it was not done
	}{
		{"Put, Absent", func(cache *wildkey.Cache) (bool, error) {
			return toldBy(cache.Put(ctx, put("mine", wildkey.Absent(), "d")...), wildkey.ErrCondition)
		}, " waiting - - mine", true},
		{"Put, Equal", func(cache *wildkey.Cache) (bool, error) {
			return toldBy(cache.Put(ctx, put("mine", wildkey.Equal([]byte("waiting")), "a")...), wildkey.ErrCondition)
		}, " mine - - -", true},
		{"Put, Present", func(cache *wildkey.Cache) (bool, error) {
			return toldBy(cache.Put(ctx, put("mine", wildkey.Present(), "a")...), wildkey.ErrCondition)
		}, " mine - - -", false},
		{"Take", func(cache *wildkey.Cache) (bool, error) {
			return toldBy(first(cache.Take(ctx, key)), wildkey.ErrNotFound)
		}, " - - - -", true},
		{"claim", func(cache *wildkey.Cache) (bool, error) { return claim(ctx, cache, key, "mine") }, " mine - - -", false},
		{"claim of another's", func(cache *wildkey.Cache) (bool, error) {
			if err := r.on.first.Put(ctx, put("another's", wildkey.Condition{}, "a")...); err != nil {
				return false, err
			}
			mine, err := claim(ctx, cache, key, "mine")
			return !mine, err
		}, " another's - - -", false},
		{"claim and Delete", func(cache *wildkey.Cache) (bool, error) {
			mine, err := until(func() (bool, error) { return claim(ctx, cache, key, "mine") })
			if err == nil && mine {
				_, err = until(func() (bool, error) { return true, first(cache.Delete(ctx, key)) })
			}
			return mine, err
		}, " - - - -", false},
	} {
		wrong, stride := 0, 1
		if r.direction == requests {
			stride = rounds(23, 1)
		}
		for cut, broken := 0, true; broken; cut += stride {
			must(t, r.on.client.FlushDB(ctx).Err())
			must(t, r.on.first.Put(ctx, put("waiting", wildkey.Absent(), "a")...))
			var told bool
			var err error
			told, err, broken = r.cutAfter(t, cut, one.call)
			r.table.rounds++
			if told {
				r.table.told["done"]++
			} else {
				r.table.told["not done, although it was"]++
				wrong++
			}
			var left string
			for _, name := range []string{"a", "b", "c", "d"} {
				value, err := r.on.first.Get(ctx, session(name))
				if errors.Is(err, wildkey.ErrNotFound) {
					value, err = []byte("-"), nil
				}
				must(t, err)
				left += " " + string(value)
			}
			place := fmt.Sprintf("%s, cut after %d bytes of %s: told %v, %v", one.name, cut, r.direction, told, err)
			if err != nil || left != one.left || !told && !one.wrong {
				t.Errorf("%s, and it leaves%s, not%s", place, left, one.left)
			}
			r.table.breaches += r.on.mustBeWhole(t, place)
		}
		if one.wrong && r.direction == replies && wrong == 0 {
			t.Errorf("%s: no cut has it meet its own work", one.name)
		}
	}
}

// toldBy says what the caller of a call is told: that it was done, that it was
// not, or neither.
func toldBy(err, not error) (bool, error) {
	if errors.Is(err, not) {
		return false, nil
	}
	return err == nil, err
}

// cutAfter makes the call, again after an error, on a client whose first
// connection breaks when so many bytes have passed; the others are whole.
func (r *replayed) cutAfter(
	t *testing.T, bytes int, call func(*wildkey.Cache) (bool, error),
) (told bool, err error, broken bool) {
	t.Helper()
	var dials atomic.Int32
	addr := r.on.client.Options().Addr
	client := r.through.client(redis.Options{
		MaxRetries: r.retries, MinRetryBackoff: -1, MaxRetryBackoff: -1, PoolSize: 1,
		Dialer: func(ctx context.Context, network, proxy string) (net.Conn, error) {
			var dialer net.Dialer
			if dials.Add(1) > 1 {
				return dialer.DialContext(ctx, network, addr)
			}
			return dialer.DialContext(ctx, network, proxy)
		},
	})
	must(t, client.Ping(ctx).Err())
	r.through.poison(t, "limit_data", r.direction, map[string]int{"bytes": bytes})
	cache := newCaches(t, client).first
	told, err = until(func() (bool, error) { return call(cache) })
	must(t, client.Close())
	r.through.heal()
	waitUntilAlone(t, r.on.client)
	return told, err, dials.Load() > 1
}

// TestClaimedOnce has workers claim the same jobs, all at a time, through
// connections that are cut over and over. Each job is done by just one of them.
func TestClaimedOnce(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		const workers = 8
		jobs := rounds(400, 4_000)
		through := newProxy(t, server.Addr)
		direct := newCaches(t, server.Client(t))
		client := through.client(redis.Options{
			DialerRetries: 1, ReadTimeout: time.Second, MaxRetryBackoff: 10 * time.Millisecond,
		})
		defer client.Close()
		cache := newCaches(t, client).first
		table := newRow(t, "jobs claimed over connections that are cut")
		for job := range jobs {
			must(t, direct.first.Put(ctx, wildkey.Record{Key: wildkey.K("job", job), Value: []byte("waiting")}))
		}
		done := make([]atomic.Int32, jobs)
		var calls, failed atomic.Int64
		var running sync.WaitGroup
		for worker := range workers {
			running.Add(1)
			go func() {
				defer running.Done()
				for job := range jobs {
					key, text := wildkey.K("job", job), fmt.Sprint("worker ", worker)
					// No worker gives up before it knows: it may be the one.
					for mine, known := false, false; !known; {
						var err error
						calls.Add(1)
						if mine, err = claim(ctx, cache, key, text); err != nil {
							failed.Add(1)
							time.Sleep(time.Millisecond)
							continue
						}
						if known = true; mine {
							done[job].Add(1)
						}
					}
				}
			}()
		}
		stopped := make(chan struct{})
		go func() { running.Wait(); close(stopped) }()
		for cutting := true; cutting; table.rounds++ {
			direction := []string{requests, replies}[table.rounds%2]
			through.poison(t, "limit_data", direction, map[string]int{"bytes": 2_000 + 131*(table.rounds%30)})
			time.Sleep(20 * time.Millisecond)
			through.heal()
			select {
			case <-stopped:
				cutting = false
			case <-time.After(5 * time.Millisecond):
			}
		}
		for job := range done {
			if n := done[job].Load(); n != 1 {
				t.Errorf("job %d was done by %d workers", job, n)
			}
		}
		table.told["done"] = int(calls.Load() - failed.Load())
		if n := int(failed.Load()); n > 0 {
			table.told["connection broken"] = n
		}
		table.found = fmt.Sprintf("%s of %s jobs done, each by one worker", thousands(jobs), thousands(jobs))
		table.breaches += direct.mustBeWhole(t, "claimed")
	})
}
