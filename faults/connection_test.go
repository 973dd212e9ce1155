package faults

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/writer"
)

// cutCall is a call that is cut at every byte.
type cutCall struct {
	name string
	call func(on caches) error
	// steps are the atomic calls that it makes, in this order; without any, it is one.
	steps []func(on caches) error
	// independent steps may be done when those before have failed.
	independent bool
	// A call that looks first goes on with what it was answered.
	looksFirst bool
}

// caches are two namespaces on one client; only Move uses the second.
type caches struct {
	client       *redis.Client
	first, other *wildkey.Cache
}

func newCaches(t *testing.T, client *redis.Client) caches {
	t.Helper()
	first, err := wildkey.New(client, wildkey.Options{Namespace: "first", TTL: time.Hour, CallRecords: 3})
	must(t, err)
	other, err := wildkey.New(client, wildkey.Options{Namespace: "other", TTL: time.Hour})
	must(t, err)
	return caches{client, first, other}
}

func session(name string) wildkey.Key { return wildkey.K("user", 1, "session", name) }

func put(value string, when wildkey.Condition, names ...string) (records []wildkey.Record) {
	for _, name := range names {
		records = append(records, wildkey.Record{Key: session(name), Value: []byte(value), If: when})
	}
	return records
}

// fill writes what every cut call starts from: the sessions a, b and c, and a
// stale index entry.
func (on caches) fill() error {
	if err := on.client.FlushAll(ctx).Err(); err != nil {
		return err
	}
	stale := redis.Z{Member: session("gone").String()}
	if err := on.client.ZAdd(ctx, on.first.Layout().Index(0), stale).Err(); err != nil {
		return err
	}
	return on.first.Put(ctx, put("old", wildkey.Absent(), "a", "b", "c")...)
}

// state says what each session is, in both namespaces, and for how many hours.
func (on caches) state() (string, error) {
	var state strings.Builder
	for _, namespace := range []string{"first", "other"} {
		for _, name := range []string{"a", "b", "c", "d"} {
			key := "{" + namespace + "}:" + session(name).String()
			value, err := on.client.Get(ctx, key).Result()
			if err == redis.Nil {
				state.WriteString(" -")
				continue
			}
			left, errLeft := on.client.PTTL(ctx, key).Result()
			if err != nil || errLeft != nil {
				return "", fmt.Errorf("%v, %v", err, errLeft)
			}
			fmt.Fprintf(&state, " %s/%.0f", value, left.Round(time.Hour).Hours())
		}
	}
	return state.String(), nil
}

var ofUser = wildkey.MustParsePattern("user:1:**")

func cutCalls() []cutCall {
	putOf := func(records ...wildkey.Record) func(on caches) error {
		return func(on caches) error { return on.first.Put(ctx, records...) }
	}
	deleteOf := func(names ...string) func(on caches) error {
		return func(on caches) error {
			for _, name := range names {
				if _, err := on.first.Delete(ctx, session(name)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []cutCall{
		{name: "Put", call: putOf(put("new", wildkey.Condition{}, "b", "c", "d")...)},
		{name: "Put, Absent", call: putOf(put("new", wildkey.Absent(), "d")...)},
		{name: "Apply", call: func(on caches) error {
			return first(on.first.Apply(ctx, wildkey.OpPut(put("new", wildkey.Absent(), "d")[0]),
				wildkey.OpTouch(session("a"), 2*time.Hour), wildkey.OpDelete(session("b"))))
		}},
		{name: "Put, Equal", call: putOf(put("new", wildkey.Equal([]byte("old")), "a", "b")...)},
		{name: "Delete", call: func(on caches) error {
			return first(on.first.Delete(ctx, session("a"), session("b"), session("d")))
		}},
		{name: "Take", call: func(on caches) error { return first(on.first.Take(ctx, session("a"))) }},
		{name: "Touch", call: func(on caches) error {
			return first(on.first.Touch(ctx, 2*time.Hour, session("a"), session("b"), session("c")))
		}},
		{name: "GetTouch", call: func(on caches) error {
			return first(on.first.GetTouch(ctx, 2*time.Hour, session("a")))
		}},
		{name: "DeleteMatch", looksFirst: true, call: func(on caches) error {
			return first(on.first.DeleteMatch(ctx, ofUser))
		}},
		{name: "TouchMatch", looksFirst: true, call: func(on caches) error {
			return first(on.first.TouchMatch(ctx, wildkey.NoExpiry, ofUser))
		}},
		{name: "PutEach",
			call: func(on caches) error {
				return first(on.first.PutEach(ctx, all(put("new", wildkey.Condition{}, "a", "b", "c", "d")), nil))
			},
			steps: []func(on caches) error{
				putOf(put("new", wildkey.Condition{}, "a", "b", "c")...), putOf(put("new", wildkey.Condition{}, "d")...),
			},
			independent: true,
		},
		{name: "Writer",
			call: func(on caches) error {
				var failed error
				background := writer.New(on.first, writer.Options{OnError: func(f writer.Failure) {
					failed = cmp.Or(failed, f.Err)
				}})
				errPut := background.Put(ctx, put("new", wildkey.Absent(), "d")...)
				errDelete := background.Delete(ctx, session("b"))
				errClose := background.Close(ctx)
				return cmp.Or(errPut, errDelete, errClose, failed)
			},
			steps:       []func(on caches) error{putOf(put("new", wildkey.Absent(), "d")...), deleteOf("b")},
			independent: true,
		},
		{name: "Move",
			call: func(on caches) error { return first(admin.Move(ctx, on.first, on.other)) },
			steps: []func(on caches) error{
				func(on caches) error { return on.other.Put(ctx, put("old", wildkey.Absent(), "a", "b", "c")...) },
				func(on caches) error { return first(on.first.DeleteMatch(ctx, ofUser)) },
			},
		},
		{name: "Sweep", call: func(on caches) error { return first(on.first.Sweep(ctx)) }},
		{name: "Reindex", call: func(on caches) error {
			return first(admin.Reindex(ctx, on.client, on.first.Layout()))
		}},
		// As a client in another language may send the scripts: all at once.
		{name: "pipeline",
			call: func(on caches) error {
				_, err := on.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
					scripts := map[string]string{}
					for _, script := range wildkey.Scripts() {
						scripts[script.Name] = script.SHA1
					}
					keys := func(sessions ...string) []string {
						keys := []string{"{first}/keys"}
						for _, session := range sessions {
							keys = append(keys, "{first}:user:1:session:"+session)
						}
						return keys
					}
					pipe.EvalSha(ctx, scripts["put"], keys("d", "a"), 3600000, "-", "new", "never", "*", "new")
					pipe.EvalSha(ctx, scripts["delete"], keys("b"), "values")
					pipe.EvalSha(ctx, scripts["put"], keys("c", "d"), "touch 7200000", "*", "", "touch never", "*", "")
					pipe.EvalSha(ctx, scripts["sweep"], keys("a", "gone"))
					return nil
				})
				return err
			},
			steps: []func(on caches) error{
				putOf(append(put("new", wildkey.Absent(), "d"),
					wildkey.Record{Key: session("a"), Value: []byte("new"), TTL: wildkey.NoExpiry})...),
				deleteOf("b"),
				func(on caches) error {
					return cmp.Or(first(on.first.Touch(ctx, 2*time.Hour, session("c"))),
						first(on.first.Touch(ctx, wildkey.NoExpiry, session("d"))), nil)
				},
			},
		},
	}
}

// statesOf returns all states that a call may leave, the first untouched and the
// last done.
func (c cutCall) statesOf(t *testing.T, on caches) (states []string) {
	t.Helper()
	steps := c.steps
	if steps == nil {
		steps = []func(on caches) error{c.call}
	}
	for done := range 1 << len(steps) { // the bits are the steps
		if done&(done+1) != 0 && !c.independent {
			continue
		}
		must(t, on.fill())
		for i, step := range steps {
			if done>>i&1 == 1 {
				must(t, step(on))
			}
		}
		state, err := on.state()
		must(t, err)
		states = append(states, state)
	}
	return states
}

// TestCut cuts the connection after each number of bytes of what a call sends,
// and of what it is answered; in the short form after some.
func TestCut(t *testing.T) {
	onCutCalls(t, func(t *testing.T, c cutCall, at cutPlace, table *row) {
		stride := rounds(37, 1)
		if at.direction == replies {
			stride = rounds(5, 1)
		}
		told := map[string]bool{} // the states of which the client was not told that it is done
		for cut, whole := 0, false; !whole; cut += stride {
			state, err := at.tryCall(t, c, table, "limit_data", map[string]int{"bytes": cut})
			whole = err == nil
			told[state] = told[state] || whole
		}
		untold := at.states[0]
		if at.direction == replies {
			untold = at.states[len(at.states)-1]
		}
		differs := at.states[0] != at.states[len(at.states)-1]
		if told, seen := told[untold]; !seen || told && differs && at.direction == requests {
			t.Errorf("%s, cut in %s: no cut leaves%s", c.name, at.direction, untold)
		}
	}, "connection cut after n bytes of what is sent", "connection cut after n bytes of the answer")
}

// TestLost has what a call sends, or what it is answered, vanish on the way, and
// the client wait in vain.
func TestLost(t *testing.T) {
	onCutCalls(t, func(t *testing.T, c cutCall, at cutPlace, table *row) {
		state, err := at.tryCall(t, c, table, "timeout", map[string]int{"timeout": 0})
		want := at.states[0]
		if at.direction == replies && !c.looksFirst {
			want = at.states[len(at.states)-1]
		}
		if kindOf(err) != "timeout" || c.steps == nil && state != want {
			t.Errorf("%s, nothing comes through in %s: %v, and it leaves%s, not%s", c.name, at.direction, err, state, want)
		}
	}, "what is sent is lost", "the answer is lost")
}

// TestSlow has everything arrive a few bytes at a time, which is no fault.
func TestSlow(t *testing.T) {
	onCutCalls(t, func(t *testing.T, c cutCall, at cutPlace, table *row) {
		few := map[string]int{"average_size": 7, "size_variation": 5, "delay": 50}
		if state, err := at.tryCall(t, c, table, "slicer", few); err != nil {
			t.Errorf("%s: %v, and it leaves%s", c.name, err, state)
		}
	}, "requests a few bytes at a time", "answers a few bytes at a time")
}

// cutPlace is where a call is made through a proxy.
type cutPlace struct {
	on        caches // goes straight to the server
	through   proxy
	direction string
	states    []string // that the call may leave, the first untouched and the last done
}

func onCutCalls(
	t *testing.T, test func(t *testing.T, c cutCall, at cutPlace, table *row), faultOfRequests, faultOfReplies string,
) {
	t.Helper()
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		direct := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: 1})
		t.Cleanup(func() { direct.Close() })
		at := cutPlace{on: newCaches(t, direct), through: newProxy(t, server.Addr)}
		must(t, at.on.first.Load(ctx))
		for _, fault := range []string{faultOfRequests, faultOfReplies} {
			at.direction = replies
			if fault == faultOfRequests {
				at.direction = requests
			}
			table := newRow(t, fault)
			table.found = "each call whole or not at all"
			for _, c := range cutCalls() {
				at.states = c.statesOf(t, at.on)
				test(t, c, at, table)
				if n := checkWithTool(t, direct, wildkey.Options{Namespace: "first"}); n != 0 {
					t.Errorf("%s: wildkey check reports %d breaches", c.name, n)
				}
			}
		}
	})
}

// tryCall makes the call through a connection that is open already and to which
// the toxic comes then, and checks what it leaves.
func (at cutPlace) tryCall(
	t *testing.T, c cutCall, table *row, toxic string, attributes map[string]int,
) (state string, err error) {
	t.Helper()
	must(t, at.on.fill())
	patience := time.Minute
	if toxic == "timeout" {
		patience = 250 * time.Millisecond // of waiting in vain
	}
	client := at.through.client(redis.Options{MaxRetries: -1, PoolSize: 1, ReadTimeout: patience})
	for range 20 { // on a busy machine it may not be answered in time
		if err = client.Ping(ctx).Err(); err == nil {
			break
		}
	}
	must(t, err)
	at.through.poison(t, toxic, at.direction, attributes)
	err = c.call(newCaches(t, client))
	must(t, client.Close())
	at.through.heal()
	waitUntilAlone(t, at.on.client)

	place := fmt.Sprintf("%s, %s %v of %s (%v)", c.name, toxic, attributes, at.direction, err)
	state, errState := at.on.state()
	must(t, errState)
	if !slices.Contains(at.states, state) || err == nil && state != at.states[len(at.states)-1] {
		t.Errorf("%s: it leaves%s, and may leave %q", place, state, at.states)
	}
	table.rounds++
	table.told[kindOf(err)]++
	table.breaches += at.on.mustBeWhole(t, place)
	return state, err
}

// waitUntilAlone waits until the server has done with every other connection,
// and so has done what ever came through it.
func waitUntilAlone(t *testing.T, client *redis.Client) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		if strings.Contains(client.Info(ctx, "clients").Val(), "connected_clients:1\r") {
			return
		}
	}
	t.Fatal("the server still has other connections")
}

// mustBeWhole returns how many breaches there are.
func (on caches) mustBeWhole(t *testing.T, place string) int {
	t.Helper()
	report, err := checkInvariant(on.client)
	must(t, err)
	hidden := 0
	for _, cache := range []*wildkey.Cache{on.first, on.other} {
		matched, err := cache.Collect(ctx, everything)
		must(t, err)
		for _, name := range []string{"a", "b", "c", "d"} {
			_, err := cache.Get(ctx, session(name))
			found := slices.ContainsFunc(matched, func(e wildkey.Entry) bool { return slices.Equal(e.Key, session(name)) })
			if (err == nil) != found {
				hidden++
				t.Errorf("%s: Get of %s: %v; Match finds it: %v", place, session(name), err, found)
			}
		}
	}
	for _, breach := range report.Breaches {
		t.Errorf("%s: %s", place, breach)
	}
	return hidden + len(report.Breaches)
}

// TestCutUnderLoad cuts all connections at a time, over and over, while clients
// use them: those of a client that sends nothing twice, and those of one that
// sends again what was not answered, as go-redis does unless told otherwise.
func TestCutUnderLoad(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		for _, way := range []struct {
			fault   string
			retries int
		}{{"connections cut under load", -1}, {"the same, go-redis retries", 3}} {
			through := newProxy(t, server.Addr)
			var connections atomic.Int64
			client := through.client(redis.Options{
				MaxRetries: way.retries, DialerRetries: 1, ReadTimeout: time.Second, MaxRetryBackoff: 20 * time.Millisecond,
				OnConnect: func(context.Context, *redis.Conn) error { connections.Add(1); return nil },
			})
			defer client.Close()
			l := newLoad(t, client, loadOptions{
				replays: way.retries > 0, cache: wildkey.Options{Namespace: fmt.Sprint("retries", way.retries)},
			})
			table := newRow(t, way.fault)
			for range rounds(8, 80) {
				l.during(func() {
					for _, toxic := range []string{"limit_data", "reset_peer"} {
						for _, direction := range []string{requests, replies} {
							if !l.waitForWrites(50) {
								t.Error("no load")
							}
							through.poison(t, toxic, direction, map[string]int{"bytes": 3_000, "timeout": 0})
							time.Sleep(20 * time.Millisecond)
							through.heal()
						}
					}
				})
				table.add(l, l.judgeWhole(t, server.Client(t)))
			}
			// Where go-redis retries, the clients may be told nothing of it.
			if n := connections.Load(); n <= int64(len(l.workers)) || way.retries < 0 && table.told["connection broken"] == 0 {
				t.Errorf("the clients have made %d connections and were told %v", n, table.told)
			}
		}
	})
}
