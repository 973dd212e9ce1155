package budget

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/header"
	"github.com/wildkey/wildkey/luatest"
)

// What is promised of put.lua's collecting, whatever its steps and runs are.
const (
	mostLooked   = 1024 // units of one put
	unit         = 256  // bytes of an entry that count as one unit more
	lookedPerNew = 0.25 // entries looked at for each that a clean index grows by, on average
)

// looked returns how much of the index scripts looked at.
func looked(calls []luatest.Call) (entries, units int) {
	for _, call := range calls {
		if found, ok := call.Reply.([]any); ok && call.Args[0] == "ZRANGEBYLEX" {
			for _, entry := range found {
				entries, units = entries+1, units+1+len(entry.(string))/unit
			}
		}
	}
	return entries, units
}

// TestCollectingIsBounded puts any number of new records into indexes that are
// stale through and through, or here and there, with entries of any length.
func TestCollectingIsBounded(t *testing.T) {
	for _, length := range []int{10, unit - 1, unit, 4096} {
		for _, each := range []int{1, 7, 40} { // one entry in so many is stale
			t.Run(fmt.Sprintf("%d bytes, 1 in %d stale", length, each), func(t *testing.T) {
				backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
					index, cache := "{test}/keys", b.Cache(t, wildkey.Options{CallRecords: 2500})
					backend.Must(t, cache.Load(ctx))
					add := []any{"ZADD", index}
					for i := range 3000 {
						member := fmt.Sprintf("%06d", i)
						member += strings.Repeat("a", length-len(member))
						add = append(add, 0, member)
						if i%each != 0 {
							b.Do(t, "SET", "{test}:"+member, "v")
						}
					}
					b.Do(t, add...)
					most, dropped := 0, 0
					for round, n := range []int{1, 3, 8, 20, 100, 500, 2500, 7, 64, 1000, 33} {
						var records []wildkey.Record
						for i := range n {
							records = append(records, backend.Rec(wildkey.K("new", round, i), "v"))
						}
						before := b.Do(t, "ZCARD", index).(int64)
						made := scriptCalls(t, b, func() error { return cache.Put(ctx, records...) })
						entries, units := looked(made)
						if units > mostLooked {
							t.Errorf("a put of %d looks at %d entries, which count as %d, at most %d", n, entries, units, mostLooked)
						}
						locals := fmt.Sprintf("local c, p, t, d, e = 0, %d, 0, 0, %d", n, units)
						if budget := header.CallBudget(t, b, "put", locals, ""); len(made) > budget {
							t.Errorf("a put of %d that looks at %d makes %d calls; its COST line says %d", n, units, len(made), budget)
						}
						most, dropped = max(most, units), dropped+int(before)+n-int(b.Do(t, "ZCARD", index).(int64))
					}
					if each == 1 && most < mostLooked/2 || dropped == 0 {
						t.Errorf("the puts look at %d at most and drop %d entries: this test sees too little", most, dropped)
					}
				})
			})
		}
	}
}

// TestCollectingInAnIndexThatDoesNotGrow: what adds no entry looks at none,
// however many are stale.
func TestCollectingInAnIndexThatDoesNotGrow(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 1000})
		var records []wildkey.Record
		var keys []wildkey.Key
		add := []any{"ZADD", cache.Layout().Index(0)}
		for i := range 1000 {
			records, keys = append(records, backend.Rec(wildkey.K("old", i), "v")), append(keys, wildkey.K("old", i))
			add = append(add, 0, fmt.Sprintf("stale:%d", i))
		}
		backend.Must(t, cache.Put(ctx, records...))
		b.Do(t, add...)
		ops := func(op func(wildkey.Key) wildkey.Op) func() error {
			return func() error {
				all := make([]wildkey.Op, len(keys))
				for i, key := range keys {
					all[i] = op(key)
				}
				_, err := cache.Apply(ctx, all...)
				return err
			}
		}
		for _, row := range []struct {
			name string
			act  func() error
		}{
			{"put over old records", func() error { return cache.Put(ctx, records...) }},
			{"touch", ops(func(key wildkey.Key) wildkey.Op { return wildkey.OpTouch(key, wildkey.NoExpiry) })},
			{"check", ops(func(key wildkey.Key) wildkey.Op { return wildkey.OpCheck(key).If(wildkey.Present()) })},
			{"delete", ops(wildkey.OpDelete)},
		} {
			made := scriptCalls(t, b, row.act)
			if n := named(made, "ZRANDMEMBER") + named(made, "ZRANGEBYLEX"); n > 0 || len(made) == 0 {
				t.Errorf("%s: %d looks at the index in %d calls", row.name, n, len(made))
			}
		}
	})
}

// TestCollectingFollowsTheGrowth of a clean index, however many records a put
// brings: fewer looks would let stale entries gather, more would cost each put.
func TestCollectingFollowsTheGrowth(t *testing.T) {
	const records = 10_000
	for _, n := range []int{1, 2, 7, 10, 50, 250} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				cache := b.Cache(t, wildkey.Options{})
				backend.Must(t, cache.Load(ctx))
				entries := 0
				for first := 0; first < records; first += n {
					var put []wildkey.Record
					for i := range min(n, records-first) {
						put = append(put, backend.Rec(wildkey.K("user", first+i), "v"))
					}
					found, _ := looked(scriptCalls(t, b, func() error { return cache.Put(ctx, put...) }))
					entries += found
				}
				share := float64(entries) / records
				t.Logf("puts of %d look at %.3f entries for each new one", n, share)
				if share < 0.8*lookedPerNew || share > 1.2*lookedPerNew {
					t.Errorf("puts of %d look at %.3f entries for each new one, want %.2f", n, share, lookedPerNew)
				}
			})
		})
	}
}

// TestPutAndDeleteInTurn: a lock that is taken and released costs on average at
// most twice what it costs at its cheapest, whatever else is in the index.
func TestPutAndDeleteInTurn(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		const turns = 100
		var work []int64
		for size := range 130 {
			b.Engine.ResetTrace()
			for turn := range turns {
				lock := wildkey.K("lock", turn)
				backend.Must(t, cache.Put(ctx, wildkey.Record{Key: lock, If: wildkey.Absent()}))
				_, err := cache.Delete(ctx, lock)
				backend.Must(t, err)
			}
			work = append(work, b.Engine.Instructions()/turns)
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", size), "v")))
		}
		least, most := slices.Min(work), slices.Max(work)
		t.Logf("%d to %d instructions", least, most)
		if most > 2*least {
			t.Errorf("with %d other records it takes %d instructions, and %d with %d",
				slices.Index(work, most), most, least, slices.Index(work, least))
		}
	})
}
