package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/wildkey/wildkey"
)

// runLock measures a lock that is taken and released in turn. A put that makes the
// index grow past certain sizes looks for stale entries: at no size may a lock pay
// for that each time.
func runLock(ctx context.Context, b *bench) error {
	const sizes, cycles = 32, 200
	subjects, err := b.subjects(ctx, namespace)
	if err != nil {
		return err
	}
	own := subjects[0]
	if err := load(ctx, deepKeys(4, 0, b.scale.base), putWildkey(own.cache)); err != nil {
		return err
	}
	key, token := wildkey.K("lock", "one"), []byte("token")
	inTurn := func(ctx context.Context) (int, error) {
		for range cycles {
			lock := wildkey.Record{Key: key, Value: token, If: wildkey.Absent()}
			if err := own.cache.Put(ctx, lock); err != nil {
				return 0, err
			}
			if _, err := own.cache.Apply(ctx, wildkey.OpDelete(key).If(wildkey.Equal(token))); err != nil {
				return 0, err
			}
		}
		return cycles, nil
	}
	rows := make([]Row, sizes)
	more := slices.Collect(deepKeys(4, b.scale.base, sizes))
	for round := range b.rounds + 1 {
		for i, key := range more {
			rows[i].Name = fmt.Sprintf("at %s records", thousands(b.scale.base+i))
			sample, err := measure(ctx, own.server, inTurn)
			if err != nil {
				return err
			}
			if round > 0 {
				rows[i].Samples = append(rows[i].Samples, sample)
			}
			if err := own.cache.Put(ctx, wildkey.Record{Key: key, Value: value}); err != nil {
				return err
			}
		}
		if _, err := own.cache.Delete(ctx, more...); err != nil {
			return err
		}
	}
	byCost := func(a, b Row) int { return cmp.Compare(a.summary(cpuUs).median, b.summary(cpuUs).median) }
	b.add(Result{
		Line:  "lock",
		Title: "a lock, taken and released in turn",
		Note: fmt.Sprintf("At %d sizes of the index, one after another: the cheapest and the dearest of them. A record here is a "+
			"lock that is taken and released, in two calls.", sizes),
		Metrics: []string{cpuUs.name, wallUs.name},
		Rows:    []Row{slices.MinFunc(rows, byCost), slices.MaxFunc(rows, byCost)},
	})
	return nil
}
