package clients

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
)

type leaseVector struct {
	Namespace byteString   `json:"namespace"`
	Segments  []byteString `json:"segments"`
	Shards    int          `json:"shards"`
	Leading   int          `json:"leading"`
	Shard     int          `json:"shard"`
	Lease     byteString   `json:"lease"`
}

// leaseCallVector is a call of put.lua, by its operations and by what goes to the server.
type leaseCallVector struct {
	Call       string            `json:"call"`
	Operations []operationVector `json:"operations"`
	Keys       []byteString      `json:"keys"`
	Arguments  []byteString      `json:"arguments"`
}

type operationVector struct {
	Op        string       `json:"op"`
	Lease     bool         `json:"lease"`
	Segments  []byteString `json:"segments"`
	TTL       byteString   `json:"ttl,omitempty"`
	Condition byteString   `json:"condition"`
	Value     byteString   `json:"value,omitempty"`
}

func (o operationVector) op() wildkey.Op {
	key := keyOf(o.Segments)
	ops := map[string]wildkey.Op{"check": wildkey.OpCheck(key), "delete": wildkey.OpDelete(key)}
	if ms, err := strconv.Atoi(string(o.TTL)); err == nil {
		ttl := time.Duration(ms) * time.Millisecond
		ops["put"] = wildkey.OpPut(wildkey.Record{Key: key, Value: []byte(o.Value), TTL: ttl})
	}
	op := ops[o.Op]
	if o.Lease {
		op = op.OnLease()
	}
	switch o.Condition[0] {
	case '-':
		op = op.If(wildkey.Absent())
	case '=':
		op = op.If(wildkey.Equal([]byte(o.Condition[1:])))
	}
	return op
}

func leaseVectors(t *testing.T) (list []leaseVector) {
	user := []string{"user", "42", "session", "abc"}
	for _, row := range []struct {
		namespace       string
		key             []string
		shards, leading int
	}{
		{"app", user, 1, 1}, {"app", user, 48, 1}, {"app", user, 48, 2}, {"app", user, 48, 9},
		{"app", []string{"!"}, 1, 1}, {"app", []string{"!user", "42"}, 48, 1}, {"my app", []string{"\x00\xff", "é"}, 7, 2},
		{"app", []string{strings.Repeat("a", 4096)}, 16, 1}, // the limit is that of the key
	} {
		shard := wildkey.Key(row.key).Shard(row.shards, row.leading)
		vector := leaseVector{
			byteString(row.namespace), byteStrings(row.key...), row.shards, row.leading, shard, "",
		}
		list = append(list, vector)
		list[len(list)-1].Lease = leaseName(t, vector)
	}
	return list
}

// leaseName returns the Redis key that a Cache writes the lease of the key to.
func leaseName(t *testing.T, v leaseVector) byteString {
	t.Helper()
	options := wildkey.Options{Namespace: string(v.Namespace), Shards: v.Shards, ShardSegments: v.Leading}
	keys, _ := applied(t, options, wildkey.OpDelete(keyOf(v.Segments)).OnLease())
	return keys[1]
}

// applied returns KEYS and ARGV of the call that the operations are.
func applied(t *testing.T, options wildkey.Options, ops ...wildkey.Op) (keys, arguments []byteString) {
	t.Helper()
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, options)
		backend.Warm(t, cache)
		b.Engine.ResetTrace()
		if _, err := cache.Apply(ctx, ops...); err != nil && !errors.Is(err, wildkey.ErrCondition) {
			t.Fatal(err)
		}
		call := putCalls(b)[0]
		keys, arguments = call.Keys, call.Arguments
	})
	return keys, arguments
}

// putCalls are the calls of put.lua in the trace.
func putCalls(b *backend.Backend) (calls []leaseCallVector) {
	for _, call := range b.Engine.Trace() {
		if strings.EqualFold(call.Args[0], "EVALSHA") && call.Args[1] == corpus.Script("put").SHA1 {
			keys := call.Keys()
			calls = append(calls, leaseCallVector{
				Keys: byteStrings(keys...), Arguments: byteStrings(call.Args[3+len(keys):]...),
			})
		}
	}
	return calls
}

func leasePatternVectors(t *testing.T) (list []patternVector) {
	for _, text := range []string{
		"user:42", "user:**", "%2A", "user*:**", "*42", "u*r:*", "2024-01<2024-02:**", "a<", "<b:*", "*", "**", "*:*", "*:**",
		"user:u*r", "user:<b",
	} {
		list = append(list, patternVector{byteString(text), termsOf(t, wildkey.MustParsePattern(text).Leases())})
	}
	return list
}

func leaseCallVectors(t *testing.T) (list []leaseCallVector) {
	key := byteStrings("user", "42")
	check := func(condition byteString) operationVector {
		return operationVector{Op: "check", Segments: key, Condition: condition}
	}
	put := func(condition, value byteString) operationVector {
		return operationVector{Op: "put", Segments: key, TTL: "60000", Condition: condition, Value: value}
	}
	remove := func(condition byteString) operationVector {
		return operationVector{Op: "delete", Segments: key, Condition: condition}
	}
	onLease := func(o operationVector, ttl byteString) operationVector {
		o.Lease, o.TTL = true, ttl
		return o
	}
	take := onLease(put("-", "token"), "10000")
	giveBack := onLease(remove("=token"), "")
	remember := onLease(put("=token", "none"), "5000")
	void := onLease(remove("*"), "")
	for _, row := range []struct {
		call       string
		operations []operationVector
	}{
		{"miss", []operationVector{check("-"), take}},
		{"fill", []operationVector{giveBack, put("-", "Ann")}},
		{"give back", []operationVector{giveBack}},
		{"negative", []operationVector{remember}},
		{"void by put", []operationVector{put("*", "Ann"), void}},
		{"void by delete", []operationVector{remove("*"), void}},
		{"renew", []operationVector{check("=Ann"), take}},
		{"fill of a renewal", []operationVector{giveBack, put("=Ann", "Bob")}},
		{"negative of a renewal", []operationVector{remember, remove("=Ann")}},
	} {
		vector := leaseCallVector{Call: row.call, Operations: row.operations}
		vector.Keys, vector.Arguments = applied(t, wildkey.Options{Namespace: "app"}, vector.ops()...)
		list = append(list, vector)
	}
	return list
}

func (v leaseCallVector) ops() (ops []wildkey.Op) {
	for _, operation := range v.Operations {
		ops = append(ops, operation.op())
	}
	return ops
}

// TestVectorsOfLeasesInGo holds the Go package to what the file says of leases.
func TestVectorsOfLeasesInGo(t *testing.T) {
	v := readVectors(t)
	for _, row := range v.Leases {
		if got := leaseName(t, row); got != row.Lease {
			t.Errorf("the lease of %.50q is %.100q, want %.100q", row.Segments, got, row.Lease)
		}
	}
	for _, row := range v.LeasePatterns {
		pattern := wildkey.MustParsePattern(string(row.Text)).Leases()
		if diff := cmp.Diff(row.Terms, termsOf(t, pattern)); diff != "" {
			t.Errorf("the terms of the leases of %q (-want +got)\n%s", row.Text, diff)
		}
	}
	for _, row := range v.LeaseCalls {
		keys, arguments := applied(t, wildkey.Options{Namespace: "app"}, row.ops()...)
		if diff := cmp.Diff([][]byteString{row.Keys, row.Arguments}, [][]byteString{keys, arguments}); diff != "" {
			t.Errorf("%s (-want +got)\n%s", row.Call, diff)
		}
	}
}

// TestFetchMakesTheCallsOfVectors has a Fetcher do all that there is a call for, and
// expects those calls and no others: what other languages are held to is what it does.
func TestFetchMakesTheCallsOfVectors(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Namespace: "app", TTL: time.Minute})
		backend.Warm(t, cache)
		fetcher, err := fetch.New(cache, fetch.Options{Negative: 5 * time.Second, RefreshAhead: 1})
		backend.Must(t, err)
		key := wildkey.K("user", 42)
		get := func(load fetch.Load) { _, _ = fetcher.Get(ctx, key, load) }
		loads := func(value string, err error) fetch.Load {
			return func(context.Context) (fetch.Loaded, error) { return fetch.Loaded{Value: []byte(value)}, err }
		}
		put := func() { backend.Must(t, fetcher.Put(ctx, wildkey.Record{Key: key, Value: []byte("Ann")})) }
		var done []string
		expect := func(calls ...string) {
			t.Helper()
			done = append(done, calls...)
			for wait := time.Now(); len(putCalls(b)) < len(done) && time.Since(wait) < 10*time.Second; {
				time.Sleep(time.Millisecond) // renewals go on in the background
			}
		}
		renew := func(load fetch.Load) {
			put()
			expect("void by put")
			b.Engine.Advance(time.Second)
			// One hit in a hundred has it renewed, and the load ends after the last hit: none is to be a miss.
			hit := make(chan struct{})
			for before := fetcher.Stats().Refreshes; fetcher.Stats().Refreshes == before; {
				get(func(ctx context.Context) (fetch.Loaded, error) {
					<-hit
					return load(ctx)
				})
			}
			close(hit)
		}
		b.Engine.ResetTrace()
		get(loads("Ann", nil))
		expect("miss", "fill")
		_, err = fetcher.Delete(ctx, key)
		backend.Must(t, err)
		expect("void by delete")
		get(loads("", errors.New("the source is down")))
		expect("miss", "give back")
		get(loads("", wildkey.ErrNotFound))
		expect("miss", "negative")
		renew(loads("Bob", nil))
		expect("renew", "fill of a renewal")
		renew(loads("", wildkey.ErrNotFound))
		expect("renew", "negative of a renewal")

		v := readVectors(t)
		var want, got []leaseCallVector
		for _, name := range done {
			for _, row := range v.LeaseCalls {
				if row.Call == name {
					want = append(want, leaseCallVector{Keys: row.Keys, Arguments: row.Arguments})
				}
			}
		}
		var token byteString
		for _, call := range putCalls(b) {
			for i, argument := range call.Arguments {
				if argument == "10000" { // the length of a lease; behind it come the condition and the token
					token = call.Arguments[i+2]
				}
			}
			for i, argument := range call.Arguments {
				if token != "" {
					call.Arguments[i] = byteString(strings.ReplaceAll(string(argument), string(token), "token"))
				}
			}
			got = append(got, call)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the calls %q (-want +got)\n%s", done, diff)
		}
	})
}
