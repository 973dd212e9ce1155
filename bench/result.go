package main

import (
	"math"
	"slices"
	"time"
)

// Result is one line of the benchmark, measured: what every table, chart and
// figure is made of.
type Result struct {
	Line    string   `json:"line"`
	Title   string   `json:"title"`
	Note    string   `json:"note,omitempty"`
	X       float64  `json:"x,omitempty"`
	Apart   bool     `json:"apart,omitempty"` // rows are not to be compared
	Metrics []string `json:"metrics"`         // those worth a column
	Rows    []Row    `json:"rows"`            // the first is Wildkey's
}

// Row is one contender of a Result.
type Row struct {
	Name    string   `json:"name"`
	Samples []Sample `json:"samples"`
	Points  []Point  `json:"points,omitempty"` // on the way
	Failed  string   `json:"failed,omitempty"` // the error that ended it
}

// metric is one number of a Sample.
type metric struct {
	name string
	of   func(Sample) float64
}

var (
	wallMs       = metric{"wall, ms", func(s Sample) float64 { return ms(s.Wall) }}
	wallUs       = metric{"wall, µs a record", func(s Sample) float64 { return 1000 * ms(s.Wall) / float64(s.Records) }}
	cpuUs        = metric{"server CPU, µs a record", func(s Sample) float64 { return 1000 * ms(s.ServerCPU) / float64(s.Records) }}
	cpuMs        = metric{"server CPU, ms", func(s Sample) float64 { return ms(s.ServerCPU) }}
	trips        = metric{"round trips", func(s Sample) float64 { return float64(s.Trips) }}
	sent         = metric{"sent, B a record", func(s Sample) float64 { return float64(s.Sent) / float64(s.Records) }}
	received     = metric{"received, B a record", func(s Sample) float64 { return float64(s.Received) / float64(s.Records) }}
	allocs       = metric{"Go allocations a record", func(s Sample) float64 { return float64(s.Allocs) / float64(s.Records) }}
	longestMs    = metric{"longest script call, ms", func(s Sample) float64 { return ms(s.LongestCall) }}
	indexBytes   = metric{"index, B a record (MEMORY USAGE)", func(s Sample) float64 { return s.IndexBytes }}
	memoryBytes  = metric{"index, B a record (used_memory)", func(s Sample) float64 { return s.MemoryBytes }}
	putsDone     = metric{"puts", func(s Sample) float64 { return float64(s.Records) }}
	liveRecs     = metric{"live records", func(s Sample) float64 { return float64(s.Live) }}
	indexEntries = metric{"index entries", func(s Sample) float64 { return ofIndex(s, float64(s.Entries)) }}
	stalePercent = metric{"stale entries, %", func(s Sample) float64 { return ofIndex(s, 100*s.Stale) }}
	foundPercent = metric{"found by their user, %", func(s Sample) float64 { return ofIndex(s, 100*s.Found) }}
	commandsEach = metric{"commands a record", func(s Sample) float64 { return float64(s.Commands) / float64(s.Records) }}
	tripsEach    = metric{"round trips a record", func(s Sample) float64 { return float64(s.Trips) / float64(s.Records) }}
	loadsDone    = metric{"loads", func(s Sample) float64 { return float64(s.Loads) }}
	waitMedianMs = metric{"wait, ms, median", func(s Sample) float64 { return ms(s.WaitMedian) }}
	waitP99Ms    = metric{"wait, ms, 99th percentile", func(s Sample) float64 { return ms(s.WaitP99) }}
	knownMetrics = []metric{
		wallMs, wallUs, cpuUs, cpuMs, trips, sent, received, allocs, longestMs, indexBytes, memoryBytes,
		putsDone, liveRecs, indexEntries, stalePercent, foundPercent,
		commandsEach, tripsEach, loadsDone, waitMedianMs, waitP99Ms,
	}

	matchMetrics = []metric{wallMs, cpuUs, trips, sent, received, longestMs}
	opMetrics    = []metric{wallUs, cpuUs, trips, sent, received, allocs}
)

// ofIndex returns x if there is an index, and otherwise no number.
func ofIndex(s Sample, x float64) float64 {
	if s.Entries == 0 {
		return math.NaN()
	}
	return x
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (r Result) metrics() (found []metric) {
	for _, name := range r.Metrics {
		found = append(found, knownMetrics[slices.IndexFunc(knownMetrics, func(m metric) bool { return m.name == name })])
	}
	return found
}

// summary of the samples of a Row, by one metric.
type summary struct{ median, min, max float64 }

func (r Row) summary(m metric) summary {
	var values []float64
	for _, sample := range r.Samples {
		values = append(values, m.of(sample))
	}
	if len(values) == 0 {
		return summary{}
	}
	slices.Sort(values)
	middle := len(values) / 2
	median := values[middle]
	if len(values)%2 == 0 {
		median = (values[middle-1] + median) / 2
	}
	return summary{median, values[0], values[len(values)-1]}
}

// row of a contender, or none.
func (r Result) row(name string) (Row, bool) {
	for _, row := range r.Rows {
		if row.Name == name {
			return row, true
		}
	}
	return Row{}, false
}

// result of a line, or none, where the run has left it out.
func (b *bench) result(line string) (Result, bool) {
	for _, result := range b.results {
		if result.Line == line {
			return result, true
		}
	}
	return Result{}, false
}
