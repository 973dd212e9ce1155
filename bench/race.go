package main

import (
	"context"
	"fmt"
	"log"
)

// line is one comparison: contenders that do the same work in their own ways.
// The first is Wildkey.
type line struct {
	name, title, note string
	x                 float64 // where the line stands in a chart, if it is part of one
	metrics           []metric
	records           int // what every contender must say it has done; 0: they differ
	rounds            int // if more than the run's
	cold              bool
	apart             bool // contenders do other work each, and are not to be compared
	contenders        []contender
}

// contender does the work of one round; prepare, not measured, sets it up.
type contender struct {
	name    string
	server  *server
	prepare func(context.Context) error
	run     func(context.Context) (records int, err error)
	tell    func(*Sample) // adds to the sample of a round what run alone knows
}

// race measures the contenders in turn, A, B, C, A, B, C, so that a slow spell
// of the machine falls on all alike. A first round goes unmeasured, unless the
// line is cold, that is, too long for it.
func (b *bench) race(ctx context.Context, l line) error {
	result := Result{Line: l.name, Title: l.title, Note: l.note, X: l.x, Apart: l.apart}
	for _, metric := range l.metrics {
		result.Metrics = append(result.Metrics, metric.name)
	}
	for _, contender := range l.contenders {
		result.Rows = append(result.Rows, Row{Name: contender.name})
	}
	first := 0
	if l.cold {
		first = 1
	}
	for round := first; round <= max(b.rounds, l.rounds); round++ {
		for i, contender := range l.contenders {
			if contender.prepare != nil {
				if err := contender.prepare(ctx); err != nil {
					return fmt.Errorf("%s: %s: %w", l.name, contender.name, err)
				}
			}
			sample, err := measure(ctx, contender.server, contender.run)
			if err == nil && l.records > 0 && sample.Records != l.records {
				err = fmt.Errorf("%d records, not %d", sample.Records, l.records)
			}
			if err != nil {
				return fmt.Errorf("%s: %s: %w", l.name, contender.name, err)
			}
			if contender.tell != nil {
				contender.tell(&sample)
			}
			if round > 0 {
				result.Rows[i].Samples = append(result.Rows[i].Samples, sample)
			}
		}
	}
	b.add(result)
	return nil
}

func (b *bench) add(result Result) {
	b.results = append(b.results, result)
	log.Printf("%s: %s\n%s", result.Line, result.Title, result.table())
}
