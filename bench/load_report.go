package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wildkey/wildkey"
)

// writeLoad writes load.md.
func (b *bench) writeLoad(dir string, runs []*loadRun) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "load.md"), []byte(b.loadReport(runs)), 0o644)
}

func (b *bench) loadReport(runs []*loadRun) string {
	var text strings.Builder
	fmt.Fprintf(&text, `# Load

Written by %smake load%[1]s, which is %[1]sgo run . -mode load%[1]s in %[1]sbench/%[1]s: scale %s, %s.
%s

%d clients, each one call after another without a pause, for %v, on %s records of %s users: keys of
%d bytes, values of %d. The loaded records live from %v to %v, those that the load writes from %v on, a quarter
of them no longer than %v. The user of each call is drawn by chance, all alike. Servers have no persistence.
When that is measured they go on for a quarter of the time without the two verbs that ask all shards, and for another
while Reindex and Sweep go through the whole namespace, over and over; of the latter nothing is measured, but errors
and the invariant are held to the same.

**What a few cores can tell.** Clients and servers share the machine's %d cores. Calls a second are what both can do
together, and every latency is mostly the wait for a turn: of %d clients on few cores, of calls behind longer calls on
a server's one thread. More nodes cannot make that faster here. What carries over to other machines is the processor
time of the servers and how it is spread: a node's share of it, and how many calls a second of this mix one core would
carry if the busiest node had it to itself ("calls a core-second of the busiest node").

## In all

%s
Memory is used_memory; the records afterwards are those that the check of the invariant has met. A longest call that
the machine has interrupted is as long as the interruption; 0: below %v.

Stale entries are those of the indexes whose record has expired or was deleted by hand, of %s entries drawn by chance
every %v. A put drops some of them as the index grows. If they are more than %.0f%% on average, the command fails.

`, "`", b.scaleName, b.settings, b.machine(),
		loadClients, b.scale.loadTime, thousands(b.scale.loadUsers*recordsPerUser), thousands(b.scale.loadUsers),
		keyLength, valueLength, b.scale.loadTime/2, 10*b.scale.loadTime, loadLeast, loadShort,
		cores(), loadClients, loadTotals(runs), loadSlow, thousands(staleDrawn), samplePause, 100*staleMost)
	for _, l := range runs {
		fmt.Fprintf(&text, "## %s\n\n%s\n%s\n", strings.ToUpper(l.name[:1])+l.name[1:], l.verbTable(), l.scriptTable())
	}
	fmt.Fprintf(&text, `Latencies are the clients' own. INFO commandstats does not tell scripts apart: its lines are
the commands that clients send, and of GET, MGET and SCAN also what scripts call. The lines of scripts are a census: the
server's own duration of every call in %v of the same load after what is measured, by SLOWLOG. Both are times, not
processor time: what interrupts a call counts.
`, censusTime)
	return text.String()
}

// loadTotals has a column for each place.
func loadTotals(runs []*loadRun) string {
	rows := []struct {
		name string
		of   func(l *loadRun) string
	}{
		{"records loaded", func(l *loadRun) string { return thousands(l.loaded) }},
		{"loaded a second", func(l *loadRun) string { return number(float64(l.loaded) / l.loadedIn.Seconds()) }},
		{"calls", func(l *loadRun) string { return thousands(l.all.calls) }},
		{"calls a second", func(l *loadRun) string { return number(float64(l.all.calls) / l.all.took.Seconds()) }},
		{"records a second", func(l *loadRun) string { return number(float64(l.all.records) / l.all.took.Seconds()) }},
		{"cores busy with servers", func(l *loadRun) string {
			return number(l.all.servers().Seconds() / l.all.took.Seconds())
		}},
		{"server CPU a call, µs", func(l *loadRun) string { return number(l.all.cpuACall()) }},
		{"of which each node", func(l *loadRun) string { return l.all.shares() }},
		{"calls a core-second of the busiest node", func(l *loadRun) string { return number(l.all.capacity()) }},
		{"without what asks all shards: server CPU a call, µs", func(l *loadRun) string {
			return number(l.narrow.cpuACall())
		}},
		{"of which each node", func(l *loadRun) string { return l.narrow.shares() }},
		{"calls a core-second of the busiest node", func(l *loadRun) string { return number(l.narrow.capacity()) }},
		{"longest script call, ms", func(l *loadRun) string {
			longest := ""
			for _, name := range scriptNames() {
				if l.longest[name] > 0 && (longest == "" || l.longest[name] > l.longest[longest]) {
					longest = name
				}
			}
			if longest == "" {
				return "0"
			}
			return number(ms(l.longest[longest])) + " (" + longest + ")"
		}},
		{"memory, MB", func(l *loadRun) string {
			return number(l.memory(func(m holding) float64 { return m.used }) / 1e6)
		}},
		{"memory, most of the run, MB", func(l *loadRun) string {
			return number(l.memory(func(m holding) float64 { return m.peak }) / 1e6)
		}},
		{"resident, MB", func(l *loadRun) string {
			return number(l.memory(func(m holding) float64 { return m.resident }) / 1e6)
		}},
		{"of memory the indexes, MB", func(l *loadRun) string { return number(float64(l.indexBytes) / 1e6) }},
		{"records afterwards", func(l *loadRun) string { return thousands(l.report.Records) }},
		{"stale entries, mean, %", func(l *loadRun) string { return number(100 * l.stale.mean()) }},
		{"stale entries, at most, %", func(l *loadRun) string { return number(100 * slices.Max(l.stale.shares)) }},
		{"failed calls", func(l *loadRun) string { return thousands(len(l.errors)) }},
		{"breaches of the invariant", func(l *loadRun) string { return thousands(len(l.report.Breaches)) }},
	}
	var text strings.Builder
	text.WriteString(header(append([]string{""}, placeNames(runs)...)...))
	for _, row := range rows {
		text.WriteString("| " + row.name + " |")
		for _, l := range runs {
			text.WriteString(" " + row.of(l) + " |")
		}
		text.WriteString("\n")
	}
	return text.String()
}

func (l *loadRun) verbTable() string {
	text := header("verb", "of the calls", "calls", "p50, ms", "p99, ms", "p99.9, ms", "most, ms")
	for _, verb := range loadMix {
		h := l.all.latencies[verb.name]
		if h == nil {
			continue
		}
		text += fmt.Sprintf("| %s | %.1f%% | %s |", verb.name, float64(verb.share)/10, thousands(int(h.TotalCount())))
		for _, micros := range []int64{h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()} {
			text += " " + number(float64(micros)/1000) + " |"
		}
		text += "\n"
	}
	reindex, sweep := l.long["Reindex"], l.long["Sweep"]
	return text + fmt.Sprintf("\nAfterwards Reindex met %s records, in %d calls; Sweep dropped %s index entries, in %d.\n",
		thousands(reindex.records), reindex.calls, thousands(sweep.records), sweep.calls)
}

func (l *loadRun) scriptTable() string {
	text := header("script or command", "calls", "mean, µs", "median, µs", "longest, ms")
	for _, name := range scriptNames() {
		use := l.scripts[name]
		text += fmt.Sprintf("| %s.lua | %s, in the census | %s | %s | %s |\n", name, thousands(use.calls),
			number(micros(use.mean())), number(micros(use.median)), number(ms(l.longest[name])))
	}
	for _, name := range loadCommands {
		use := l.all.commands[name]
		text += fmt.Sprintf("| %s | %s | %s | | |\n", strings.ToUpper(name), thousands(use.calls), number(micros(use.mean())))
	}
	return text
}

func (l *loadRun) memory(of func(holding) float64) (sum float64) {
	for _, holds := range l.holds {
		sum += of(holds)
	}
	return sum
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func scriptNames() (names []string) {
	for _, script := range wildkey.Scripts() {
		names = append(names, script.Name)
	}
	return names
}

func placeNames(runs []*loadRun) (names []string) {
	for _, l := range runs {
		names = append(names, l.name)
	}
	return names
}

// header begins a table whose first column is text and whose others are numbers.
func header(names ...string) string {
	return "| " + strings.Join(names, " | ") + " |\n|---|" + strings.Repeat("---:|", len(names)-1) + "\n"
}
