package main

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of the pages anew, from results")

// TestPage holds the tables of docs/scale.md against the measurements that are
// kept: nobody has written a number into them, and none is left of an old run.
func TestPage(t *testing.T) {
	const page = "../docs/scale.md"
	kept, err := os.ReadFile(filepath.Join("results", "scale.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m measurements
	if err := json.Unmarshal(kept, &m); err != nil {
		t.Fatal(err)
	}
	if again := m.json(); string(again) != string(kept) {
		t.Error("scale.json is not what these measurements are written as")
	}
	tables, err := m.tables()
	if err != nil {
		t.Fatal(err)
	}
	holdPage(t, page, tables)
}

// holdPage expects the tables in their places on the page, or with -update writes them.
func holdPage(t *testing.T, page string, tables []pageTable) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	written, err := replaceTables(string(text), tables)
	if err != nil {
		t.Fatal(err)
	}
	if written == string(text) {
		return
	}
	if *update {
		if err := os.WriteFile(page, []byte(written), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	is, want := strings.Split(string(text), "\n"), strings.Split(written, "\n")
	for i := range min(len(is), len(want)) {
		if is[i] != want[i] {
			t.Fatalf("%s:%d is\n%s\nand by the results (go test -update writes it)\n%s", page, i+1, is[i], want[i])
		}
	}
	t.Fatalf("%s has %d lines, by the results %d", page, len(is), len(want))
}

func TestReplaceTables(t *testing.T) {
	const place = "before\n<!-- begin a, written from the results -->\nold\n<!-- end a -->\nbehind\n"
	text, err := replaceTables(place, []pageTable{{"a", "new\n"}})
	if want := strings.Replace(place, "old", "new", 1); text != want || err != nil {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
	for name, test := range map[string]struct {
		page   string
		tables []pageTable
	}{
		"a table without a place":  {place, []pageTable{{"a", ""}, {"b", ""}}},
		"a place without a table":  {place, nil},
		"two places of one table":  {place + place, []pageTable{{"a", ""}}},
		"a place with another end": {strings.Replace(place, "end a", "end b", 1), []pageTable{{"a", ""}}},
	} {
		if text, err := replaceTables(test.page, test.tables); err == nil {
			t.Errorf("%s: no error, and %q", name, text)
		}
	}
}

// TestFit has constants found again that costs were made of.
func TestFit(t *testing.T) {
	terms := []term{termCall, termRecord, termDepth, termKey, termValue}
	var points []point
	for _, n := range []int{1, 10, 250} {
		for _, records := range []int{10_000, 100_000, 3_000_000} {
			points = append(points, point{records: records, key: 45, value: 128, n: n})
		}
		points = append(points, point{records: 100_000, key: 200, value: 128, n: n},
			point{records: 100_000, key: 45, value: 1_024, n: n})
	}
	for name, constants := range map[string][]float64{
		"all of them":          {20, 3, 0.25, 1.5, 0.75},
		"some that do nothing": {20, 3, 0, 0, 0.75},
	} {
		t.Run(name, func(t *testing.T) {
			var costs []float64
			for _, p := range points {
				costs = append(costs, (&model{terms: terms, constants: constants}).predict(p))
			}
			m, err := fit(terms, points, costs)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range constants {
				if math.Abs(m.constants[i]-want) > 1e-6 {
					t.Errorf("%s: %v, want %v", terms[i].name, m.constants[i], want)
				}
			}
			if _, most := m.residuals(); most > 1e-6 {
				t.Errorf("the largest error is %v, of costs without noise", most)
			}
		})
	}
	t.Run("a constant below zero is left out", func(t *testing.T) {
		line := []term{termCall, termRecord}
		m, err := fit(line, []point{{n: 1}, {n: 2}, {n: 3}}, []float64{30, 20, 10})
		if err != nil || m.constants[1] != 0 || m.constants[0] <= 0 {
			t.Errorf("%v, %v", m, err)
		}
	})
	t.Run("terms that nothing tells apart", func(t *testing.T) {
		if m, err := fit([]term{termCall, termShard}, []point{{shards: 2}, {shards: 2}}, []float64{5, 5}); err == nil {
			t.Errorf("%v", m.constants)
		}
	})
}

func TestAllocated(t *testing.T) {
	for size, want := range map[int]float64{1: 16, 16: 16, 17: 32, 128: 128, 129: 160, 160: 160, 161: 192, 256: 256,
		257: 320, 320: 320, 4096: 4096, 4097: 5120} {
		if got := allocated(size); got != want {
			t.Errorf("%d bytes take %v, want %v", size, got, want)
		}
	}
}

func TestTableBytes(t *testing.T) {
	for records, want := range map[int]float64{1_000: 3 * 8 * 1_024, 1_024: 3 * 8 * 1_024, 1_025: 3 * 8 * 2_048} {
		if got := tableBytes(records); got != want {
			t.Errorf("tables of %d records take %v bytes, want %v", records, got, want)
		}
	}
}
