package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPages holds the tables of README.md and docs/performance.md against the
// results that are kept.
func TestPages(t *testing.T) {
	kept, err := os.ReadFile(filepath.Join("results", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	results := keptResults{&bench{}, t}
	if err := json.Unmarshal(kept, &results.results); err != nil {
		t.Fatal(err)
	}
	holdPage(t, "../README.md", []pageTable{{"headline", results.headline()}})
	holdPage(t, "../docs/performance.md", []pageTable{
		{"find", results.compared(
			versus{"size-1003000", "list 3,000 sessions among 1,003,000 records", nameScan, wallMs, "ms"},
			versus{"list-1003000", "list 1,000 users among 1,003,000 records", nameKeys, wallMs, "ms"},
			versus{"delete", "delete 100,000 sessions among 1,000,000 records", nameUnlink, wallMs, "ms"},
			versus{"dense", "read 60,000 records that all match", nameScan, wallMs, "ms"},
			versus{"dense", "read them, if their names are known", nameMget, wallMs, "ms"},
			versus{"count", "count 60,000 records that all match", nameNames, wallMs, "ms"},
		)},
		{"write", results.compared(
			versus{"put-1", "put a new record", nameSet, cpuUs, "µs"},
			versus{"put-1-over", "put a record over an old one", nameSet, cpuUs, "µs"},
			versus{"put-10", "put 10 new records in a call, each", nameSet, cpuUs, "µs"},
			versus{"put-250", "put 250 new records in a call, each", nameSet, cpuUs, "µs"},
			versus{"touch-250", "touch 250 records in a call, each", namePexpire, cpuUs, "µs"},
			versus{"delete-250", "delete 250 records in a call, each", nameUnlinkZrem, cpuUs, "µs"},
			versus{"get", "get a record", nameGet, cpuUs, "µs"},
		)},
		{"calls", results.longestCalls()},
		{"full", results.fullMemory()},
	})
}

// keptResults are those of results.json. What they lack fails the test.
type keptResults struct {
	*bench
	t *testing.T
}

func (k keptResults) median(line, name string, m metric) float64 {
	k.t.Helper()
	value, ok := k.value(line, name, m)
	if !ok {
		k.t.Fatalf("results.json has no %s of %s", name, line)
	}
	return value
}

// headline is what the README says in numbers.
func (k keptResults) headline() string {
	own, scan := k.median("size-1003000", nameWildkey, wallMs), k.median("size-1003000", nameScan, wallMs)
	overSet := func(line string) float64 { return k.median(line, nameWildkey, cpuUs) / k.median(line, nameSet, cpuUs) }
	return fmt.Sprintf("Wildkey finds 3,000 sessions among 1,003,000 records in **%.0f ms**. `SCAN` takes **%s ms**. This speed costs an index\n"+
		"of %.0f bytes a record, and a put takes %.1f to %.1f times the server CPU of a `SET`.\n",
		own, number(scan), k.median("memory-4", nameWildkey, indexBytes), overSet("put-1"), overSet("put-250"))
}

// versus is a line of the benchmark, and what does the same with plain commands.
type versus struct {
	line, what, beside string
	m                  metric
	unit               string
}

func (k keptResults) compared(lines ...versus) string {
	var text strings.Builder
	text.WriteString("| | Wildkey | without it | takes | ratio |\n|---|---:|---|---:|---:|\n")
	for _, v := range lines {
		own, beside := k.median(v.line, nameWildkey, v.m), k.median(v.line, v.beside, v.m)
		fmt.Fprintf(&text, "| %s | %s %s | %s | %s %s | %s |\n",
			v.what, number(own), v.unit, strings.ReplaceAll(v.beside, "*", `\*`), number(beside), v.unit, number(own/beside))
	}
	return text.String()
}

func (k keptResults) longestCalls() string {
	var text strings.Builder
	text.WriteString("| | ms |\n|---|---:|\n")
	result, ok := k.result("calls")
	if !ok {
		k.t.Fatal("results.json has no calls")
	}
	for _, row := range result.Rows {
		fmt.Fprintf(&text, "| %s | %s |\n", strings.ReplaceAll(row.Name, "*", `\*`), number(row.summary(longestMs).median))
	}
	return text.String()
}

func (k keptResults) fullMemory() string {
	var text strings.Builder
	text.WriteString("| policy | keys | live records | of a plain `SET` cache | stale entries |\n|---|---|---:|---:|---:|\n")
	for _, policy := range policies {
		line := "full-" + policy
		for _, name := range []string{nameWildkey, nameAscending} {
			keys := map[string]string{nameWildkey: "random", nameAscending: "ascending"}[name]
			live := k.median(line, name, liveRecs)
			fmt.Fprintf(&text, "| `%s` | %s | %s | %.0f%% | %.0f%% |\n", policy, keys,
				number(live), 100*live/k.median(line, nameSet, liveRecs), k.median(line, name, stalePercent))
		}
	}
	return text.String()
}
