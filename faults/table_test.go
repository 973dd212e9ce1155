package faults

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/redis/go-redis/v9/logging"
)

var long = flag.Bool("long", false, "run the long form, and print the table")

// rounds is how often a fault is done: so often, and in the long form so often.
func rounds(short, inLong int) int {
	if *long {
		return inLong
	}
	return short
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	logging.Disable() // of every dial that fails
	dir, err := os.MkdirTemp("", "wildkey-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	toolPath = filepath.Join(dir, "wildkey")
	build := exec.Command("go", "build", "-o", toolPath, ".")
	build.Dir = filepath.Join("..", "cmd", "wildkey")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the tool: %v\n%s", err, output)
		return 1
	}
	code := m.Run()
	if *long {
		printTable(os.Stdout)
	}
	return code
}

// row is what was seen of one fault.
type row struct {
	fault, server string
	rounds        int
	told          map[string]int
	acknowledged  int64
	mine          int64
	records, lost int
	doubtful      int // records whose call was not answered
	doubted       int // and was done
	breaches      int
	stale         int
	found         string // beside records and losses
	repaired      string
}

var rows []*row

// newRow returns the row of a fault on the server of this test.
func newRow(t *testing.T, fault string) *row {
	t.Helper()
	r := &row{fault: fault, server: t.Name()[strings.LastIndex(t.Name(), "/")+1:], told: map[string]int{}}
	rows = append(rows, r)
	return r
}

// add adds one round: what the load was told since the last, and what was found.
func (r *row) add(l *load, v verdict) {
	r.rounds++
	l.mu.Lock()
	defer l.mu.Unlock()
	for kind, n := range l.told {
		r.told[kind] += n
	}
	clear(l.told)
	r.acknowledged += l.acked.Swap(0)
	r.mine += l.mine.Swap(0)
	r.records, r.stale = v.records, v.stale
	r.lost += v.lost
	r.doubtful += v.doubtful
	r.doubted += v.doubted
	r.breaches += v.breachCount()
}

func printTable(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(table, "| fault\t| server\t| rounds\t| calls, and how they ended\t| records written\t"+
		"| found after\t| breaches\t| stale\t| repaired by\t|")
	fmt.Fprintln(table, "|---\t|---\t|--:\t|---\t|--:\t|---\t|--:\t|--:\t|---\t|")
	for _, r := range rows {
		var told []string
		for _, kind := range slices.SortedFunc(maps.Keys(r.told), func(a, b string) int {
			return cmp.Or(cmp.Compare(r.told[b], r.told[a]), cmp.Compare(a, b))
		}) {
			told = append(told, thousands(r.told[kind])+" "+kind)
		}
		if r.mine > 0 {
			told = append(told, thousands(int(r.mine))+" met their own work")
		}
		var found []string
		if r.records > 0 {
			found = append(found, thousands(r.records)+" records")
		}
		if r.doubtful > 0 {
			found = append(found, thousands(r.doubted)+" of "+thousands(r.doubtful)+" in doubt written")
		}
		if r.lost > 0 {
			found = append(found, thousands(r.lost)+" of an older state")
		}
		if r.found != "" {
			found = append(found, r.found)
		}
		fmt.Fprintf(table, "| %s\t| %s\t| %d\t| %s\t| %s\t| %s\t| %d\t| %d\t| %s\t|\n", r.fault, r.server, r.rounds,
			strings.Join(told, ", "), thousands(int(r.acknowledged)), strings.Join(found, ", "), r.breaches, r.stale,
			cmp.Or(r.repaired, "-"))
	}
	table.Flush()
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
