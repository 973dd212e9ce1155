package main

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// term is one part of a model: a constant times what it makes of a point.
type term struct {
	name string
	of   func(p point) float64
}

// point is what a model speaks of: a call of n records, or matches, in one of
// shards of namespaces of so many records.
type point struct {
	records    int // of the shard, and so of its indexes
	server     int // of the whole server, where that is more
	key, value int
	n          int
	shards     int
}

func (s *space) point(n int) point {
	return point{records: s.Records, key: s.Key, value: s.Value, n: n}
}

// model is a sum of terms, with their constants.
type model struct {
	terms     []term
	constants []float64
	errors    []float64 // relative, of each point that it was fitted to
	far       int       // where termFar begins, if it is one of the terms
}

// fit finds the constants whose relative errors have the least squares. A
// constant that comes out below zero is noise: its term is left out, and the rest
// fitted again.
func fit(terms []term, points []point, measured []float64) (*model, error) {
	kept := make([]bool, len(terms))
	for i := range kept {
		kept[i] = true
	}
	m := &model{terms: terms, constants: make([]float64, len(terms))}
	for {
		var columns []int
		for i := range terms {
			if kept[i] {
				columns = append(columns, i)
			}
		}
		a, b := mat.NewDense(len(points), len(columns), nil), mat.NewDense(len(points), 1, nil)
		for row, p := range points {
			for column, i := range columns {
				a.Set(row, column, terms[i].of(p)/measured[row])
			}
			b.Set(row, 0, 1)
		}
		var x mat.Dense
		if err := x.Solve(a, b); err != nil {
			return nil, fmt.Errorf("fitting %d terms to %d points: %w", len(columns), len(points), err)
		}
		least := 0
		for column := range columns {
			if x.At(column, 0)*scaleOf(a, column) < x.At(least, 0)*scaleOf(a, least) {
				least = column
			}
		}
		if x.At(least, 0) < 0 {
			kept[columns[least]] = false
			continue
		}
		clear(m.constants)
		for column, i := range columns {
			m.constants[i] = x.At(column, 0)
		}
		for i, p := range points {
			m.errors = append(m.errors, m.predict(p)/measured[i]-1)
		}
		return m, nil
	}
}

// scaleOf is how large the terms of a column are, so that constants of other
// units compare.
func scaleOf(a *mat.Dense, column int) float64 {
	return mat.Norm(a.ColView(column), 2)
}

func (m *model) predict(p point) (sum float64) {
	for i, term := range m.terms {
		sum += m.constants[i] * term.of(p)
	}
	return sum
}

// squares is what a fit makes as small as can be.
func (m *model) squares() (sum float64) {
	for _, e := range m.errors {
		sum += e * e
	}
	return sum
}

// residuals are the median and the largest of the relative errors, without sign.
func (m *model) residuals() (middle, most float64) {
	var sizes []float64
	for _, e := range m.errors {
		sizes = append(sizes, math.Abs(e))
	}
	return median(sizes), slices.Max(sizes)
}

// farName is the part of a call's cost that is there only from some N on: what it
// reads on its way down is in no cache of the processor's any more.
const farName = "a record, each doubling beyond"

// The parts of the costs of a call.
var (
	termCall    = term{"a call", func(point) float64 { return 1 }}
	termRecord  = term{"a record", func(p point) float64 { return float64(p.n) }}
	termDepth   = term{"a record, each doubling of N", func(p point) float64 { return float64(p.n) * logarithm(p.records) }}
	termDescent = term{"a call, each doubling of N", func(p point) float64 { return logarithm(p.records) }}
	termFar     = func(from int) term {
		return term{farName, func(p point) float64 {
			return float64(p.n) * max(0, logarithm(max(p.records, p.server))-logarithm(from))
		}}
	}
	termKey   = term{"a record, each 100 B of key", func(p point) float64 { return float64(p.n*p.key) / 100 }}
	termValue = term{"a record, each 1,000 B of value", func(p point) float64 { return float64(p.n*p.value) / 1_000 }}
	termShard = term{"a shard", func(p point) float64 { return float64(p.shards) }}
)

// families are the terms of each verb's costs, in the order of the tables. Those
// that are far have termFar as well.
var families = []struct {
	name, what string
	terms      []term
	far        bool
}{
	{"Put", "records", []term{termCall, termRecord, termDepth, termKey, termValue}, true},
	{"Put again", "records", []term{termCall, termRecord, termDepth, termKey, termValue}, true},
	{"Touch", "records", []term{termCall, termRecord, termDepth, termKey}, true},
	{"Delete", "records", []term{termCall, termRecord, termDepth, termKey}, true},
	{"Get", "record", []term{termCall, termDescent, termValue}, false},
	{"GetMany", "records", []term{termCall, termRecord, termDepth, termKey, termValue}, true},
	{"Match", "matches", []term{termCall, termDescent, termRecord, termDepth, termKey, termValue}, false},
	{"Count", "entries", []term{termCall, termDescent, termRecord, termKey}, false},
	{"Leaps", "leaps", []term{termRecord, termDepth, termKey}, true},
}

// far are the numbers of records beyond which costs may rise faster. Two of the
// sizes must lie there, and the least before.
var far = []int{1 << 14, 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 19}

// costModels fits one model a verb family, to the processor time or the wall
// time of a call.
func (m *measurements) costModels(of func(*costs) []float64) (map[string]*model, error) {
	models := map[string]*model{}
	for _, family := range families {
		var points []point
		var measured []float64
		for _, verb := range modelVerbs() {
			for _, s := range m.Spaces {
				if verb.family != family.name || s.Predicted {
					continue
				}
				costs := s.Costs[verb.name()]
				if costs == nil {
					return nil, fmt.Errorf("%s: not measured, with %d records", verb.name(), s.Records)
				}
				points = append(points, s.point(verb.n))
				measured = append(measured, median(of(costs)))
			}
		}
		terms := [][]term{family.terms}
		if family.far {
			terms = nil
			for _, from := range far {
				if from <= m.fitted()[1] {
					terms = append(terms, append(slices.Clone(family.terms), termFar(from)))
				}
			}
		}
		for i, terms := range terms {
			fitted, err := fit(terms, points, measured)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", family.name, err)
			}
			if best := models[family.name]; best == nil || fitted.squares() < best.squares() {
				if models[family.name] = fitted; family.far {
					fitted.far = far[i]
				}
			}
		}
	}
	return models, nil
}

// fitted are the sizes that are used for fitting, the largest first.
func (m *measurements) fitted() (sizes []int) {
	for _, s := range m.Spaces {
		if !s.Predicted {
			sizes = append(sizes, s.Records)
		}
	}
	slices.SortFunc(sizes, func(a, b int) int { return b - a })
	return slices.Compact(sizes)
}

func ofCPU(c *costs) []float64  { return c.CPU }
func ofWall(c *costs) []float64 { return c.Wall }

// memoryTerms are what a record takes, in bytes: a part that is the same for all,
// strings in the sizes that the allocator has, and places in hash tables.
var memoryTerms = []term{
	{"a record: dictionary entries, skip list nodes, object", func(point) float64 { return 1 }},
	{"its key: once as a Redis key, once as a member", func(p point) float64 {
		return allocated(stringBytes(len(layout.Tag(0)+":")+p.key)) + allocated(stringBytes(p.key))
	}},
	{"its value", func(p point) float64 {
		const object, embedded = 16, 44
		if p.value <= embedded {
			return allocated(object + stringBytes(p.value))
		}
		return allocated(object) + allocated(stringBytes(p.value))
	}},
	{"its places in three hash tables", func(p point) float64 { return tableBytes(p.records) / float64(p.records) }},
}

// stringBytes is a string of Redis: a header, the bytes, and a zero.
func stringBytes(length int) int {
	header := 5
	if length < 1<<8 {
		header = 3
	}
	return header + length + 1
}

// allocated is what jemalloc gives for so many bytes: multiples of 16 up to 128,
// then four sizes in each doubling.
func allocated(size int) float64 {
	step := 16
	if size > 128 {
		step = 1 << (bits.Len(uint(size-1)) - 3)
	}
	return float64((size + step - 1) / step * step)
}

// tableBytes are the places of the hash tables of a server with so many records:
// of its keys, of their expiries, and of the index; a power of two, each, of at
// least the records.
func tableBytes(records int) float64 {
	const place, tables = 8, 3
	return float64(place * tables * uint64(1) << bits.Len(uint(records-1)))
}

func (m *measurements) memoryModel() (*model, error) {
	var points []point
	var measured []float64
	for _, s := range m.Spaces {
		if !s.Predicted {
			points = append(points, s.point(1))
			measured = append(measured, s.Memory/float64(s.Records))
		}
	}
	return fit(memoryTerms, points, measured)
}

// fanModel is the cost of a call by the number of shards that it asks.
func (m *measurements) fanModel(of func(*fan) []float64) (*model, error) {
	var points []point
	var measured []float64
	for _, f := range m.Fans {
		if !f.Predicted {
			points = append(points, point{shards: f.Shards})
			measured = append(measured, median(of(f)))
		}
	}
	return fit([]term{termCall, termShard}, points, measured)
}

// The parts of what is done to all records of an index, or of a server, at once.
var (
	termThousand      = term{"a thousand records", func(p point) float64 { return float64(p.records) / 1_000 }}
	termThousandDepth = term{"a thousand records, each doubling of N", func(p point) float64 {
		return float64(p.records) / 1_000 * logarithm(p.records)
	}}
)

// fitRecords fits these terms to costs that depend on the number of records alone.
func fitRecords(records []int, measured []float64, terms ...term) (*model, error) {
	var points []point
	for _, n := range records {
		points = append(points, point{records: n})
	}
	return fit(terms, points, measured)
}
