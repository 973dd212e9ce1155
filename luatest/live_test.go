package luatest

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

func TestLiveClockRuns(t *testing.T) {
	e := Live()
	before := time.Now()
	if now := e.Now(); now.Before(before) || now.After(time.Now()) {
		t.Errorf("a live engine's clock is at %v, the machine's at %v", now, before)
	}
	expect(t, e, Status("OK"), "SET", "k", "v", "PX", "20")
	for deadline := time.Now().Add(time.Minute); e.Do("GET", "k") != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a key of 20 ms lives after a minute")
		}
	}
}

// A script sees one moment, as on a server.
func TestLiveClockStandsInAScript(t *testing.T) {
	const source = "local a = redis.call('TIME') for i = 1, 1e5 do end local b = redis.call('TIME') return a[1] == b[1] and a[2] == b[2]"
	expect(t, Live(), int64(1), "EVAL", source, "0")
}

func TestLiveClockIsMoved(t *testing.T) {
	e := Live()
	e.Do("SET", "hour", "v", "EX", "3600")
	e.Advance(59 * time.Minute)
	expect(t, e, "v", "GET", "hour")
	e.Advance(2 * time.Minute)
	expect(t, e, nil, "GET", "hour")
	e.SetNow(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	if year := e.Now().UTC().Year(); year != 2030 {
		t.Errorf("the year is %d", year)
	}
	if year := e.Clone().Now().UTC().Year(); year != 2030 {
		t.Errorf("in a clone the year is %d", year)
	}
}

func TestLiveKeepsNoTrace(t *testing.T) {
	e := Live()
	e.Do("EVAL", "return redis.call('PING')", "0")
	if trace := e.Trace(); len(trace) > 0 {
		t.Errorf("kept: %v", trace)
	}
}

// What has expired is forgotten although nobody asks for it, and so is what its
// place in the hash table takes.
func TestLiveIsBounded(t *testing.T) {
	e := Live()
	const lifetime, puts = 1000, 50_000
	for i := range puts {
		e.Do("SET", fmt.Sprint("k", i), "v", "PX", "1000")
		e.Advance(time.Second / lifetime)
	}
	if n := e.keys.keys.len(); n > 3*lifetime {
		t.Errorf("%d keys are held, and %d live", n, lifetime)
	}
	e.Advance(2 * time.Second)
	for range 3 * lifetime {
		e.Do("PING")
	}
	if n, buckets := e.keys.keys.len(), len(e.keys.keys.buckets); n > 0 || buckets > minBuckets {
		t.Errorf("when all has expired %d keys are held in %d buckets", n, buckets)
	}
}

func TestLiveReplicaLeavesExpiryToItsMaster(t *testing.T) {
	e := Live()
	e.Do("SET", "k", "v", "PX", "1")
	e.SetReplica(true)
	e.Advance(time.Second)
	for range 10 {
		e.Do("PING")
	}
	expect(t, e, int64(1), "DBSIZE")
	expect(t, e, nil, "GET", "k")
}

// A watch counts changes; without one nothing is counted.
func TestWatchingEnds(t *testing.T) {
	e := New()
	for _, command := range [][]string{{"UNWATCH"}, {"EXEC"}, {"DISCARD"}} {
		expect(t, e, Status("OK"), "WATCH", "k")
		if command[0] != "UNWATCH" {
			expect(t, e, Status("OK"), "MULTI")
		}
		e.Do("SET", "k", "v")
		e.Do(command...)
		if e.keys.keys.changes != nil {
			t.Errorf("after %s changes are still counted", command)
		}
	}
	client := e.Client()
	if err := client.Do(t.Context(), "WATCH", "k").Err(); err != nil {
		t.Fatal(err)
	}
	client.Close()
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		e.mu.Lock()
		ended := e.keys.keys.changes == nil
		e.mu.Unlock()
		if ended {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a client that has gone is watching after a minute")
		}
	}
}
