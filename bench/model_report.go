package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// The shape of the records that the page speaks of, and of the machines that
// would carry a thousand million of them.
const (
	bigRecords = 1_000_000_000
	bigPuts    = 1_000_000 // a second
	bigShards  = 4_096     // of which the demand for processors is told
	nodeMemory = 32e9      // bytes of a master
	memoryUsed = 0.6       // of them by records and indexes: a fork copies what is written meanwhile
	coreUsed   = 0.6       // of the one core that runs commands: the rest keeps queues short
	bulkLimit  = 512 << 20 // Redis's default of proto-max-bulk-len
)

// write writes scale.json and the tables of the page.
func (m *measurements) write(out, page string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "scale.json"), m.json(), 0o644); err != nil {
		return err
	}
	tables, err := m.tables()
	if err != nil {
		return err
	}
	if page == "" {
		for _, table := range tables {
			fmt.Printf("%s\n\n%s\n", table.name, table.text)
		}
		return nil
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	written, err := replaceTables(string(text), tables)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(written), 0o644)
}

// json has a line for each thing measured, so that a diff shows what has changed.
func (m *measurements) json() []byte {
	var text bytes.Buffer
	list := func(name string, n int, of func(i int) any, end string) {
		fmt.Fprintf(&text, "%q: [\n", name)
		for i := range n {
			encoded, err := json.Marshal(of(i))
			if err != nil {
				panic(err) // numbers and strings
			}
			text.Write(encoded)
			text.WriteString(map[bool]string{true: "\n", false: ",\n"}[i == n-1])
		}
		text.WriteString("]" + end + "\n")
	}
	fmt.Fprintf(&text, "{\"machine\": %q, \"settings\": %q,\n", m.Machine, m.Settings)
	list("spaces", len(m.Spaces), func(i int) any { return m.Spaces[i] }, ",")
	list("fan_outs", len(m.Fans), func(i int) any { return m.Fans[i] }, ",")
	list("moves", len(m.Moves), func(i int) any { return m.Moves[i] }, ",")
	list("forks", len(m.Forks), func(i int) any { return m.Forks[i] }, "}")
	return text.Bytes()
}

// pageTable is one of the tables of the page, and the name of its place there.
type pageTable struct{ name, text string }

var pagePlace = regexp.MustCompile(`(?s)<!-- begin ([a-z-]+), written from the results -->\n.*?<!-- end ([a-z-]+) -->`)

// replaceTables puts each table in its place; there is one place for each.
func replaceTables(page string, tables []pageTable) (string, error) {
	left := slices.Clone(tables)
	var failed error
	written := pagePlace.ReplaceAllStringFunc(page, func(place string) string {
		names := pagePlace.FindStringSubmatch(place)
		i := slices.IndexFunc(left, func(t pageTable) bool { return t.name == names[1] })
		if i < 0 || names[1] != names[2] {
			failed = fmt.Errorf("there is no table for the place from %s to %s, or there are two places", names[1], names[2])
			return place
		}
		text := left[i].text
		left = slices.Delete(left, i, i+1)
		return fmt.Sprintf("<!-- begin %s, written from the results -->\n%s<!-- end %s -->", names[1], text, names[1])
	})
	if failed == nil && len(left) > 0 {
		failed = fmt.Errorf("there is no place for the table %s", left[0].name)
	}
	return written, failed
}

func (m *measurements) tables() ([]pageTable, error) {
	memory, err := m.memoryModel()
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	cpu, err := m.costModels(ofCPU)
	if err != nil {
		return nil, fmt.Errorf("processor time: %w", err)
	}
	wall, err := m.costModels(ofWall)
	if err != nil {
		return nil, fmt.Errorf("latency: %w", err)
	}
	fans, err := m.fanModels()
	if err != nil {
		return nil, fmt.Errorf("fan-out: %w", err)
	}
	moving, err := m.moveModel()
	if err != nil {
		return nil, fmt.Errorf("moves: %w", err)
	}
	forking, err := m.forkModel()
	if err != nil {
		return nil, fmt.Errorf("forks: %w", err)
	}
	return []pageTable{
		{"run", fmt.Sprintf("%s\n`make scale`: %s.\n", m.Machine, m.Settings)},
		{"memory", m.memoryTable(memory)},
		{"memory-check", m.memoryCheck(memory)},
		{"processor", costTable(cpu)},
		{"latency", costTable(wall)},
		{"check", m.checkTable(cpu, wall)},
		{"fan-out", m.fanTable(fans)},
		{"moves", m.moveTable(moving)},
		{"forks", m.forkTable(forking)},
		{"demand", m.demandTable(memory, cpu)},
		{"shards", m.shardTable(cpu, fans, moving)},
	}, nil
}

func (m *measurements) memoryTable(memory *model) string {
	text := header("of a record", "constant")
	for i, term := range memory.terms {
		unit := " × its bytes, as the allocator rounds them"
		switch i {
		case 0:
			unit = " B"
		case len(memory.terms) - 1:
			unit = " × their bytes"
		}
		text += fmt.Sprintf("| %s | %s%s |\n", term.name, number(memory.constants[i]), unit)
	}
	return text + fmt.Sprintf("| a node of a cluster adds, for its lists of the keys of a slot | %s B |\n",
		number(m.clusterBytes(memory)))
}

// clusterBytes is what a record takes more on a node of a cluster.
func (m *measurements) clusterBytes(memory *model) float64 {
	f := m.Fans[0]
	plain := memory.predict(point{records: f.Records, key: keyLength, value: modelValue, n: 1})
	return max(0, f.Memory/float64(f.Records)-plain)
}

func (m *measurements) memoryCheck(memory *model) string {
	text := header("records", "key, B", "value, B", "measured, B a record", "model", "error",
		"of which the indexes (MEMORY USAGE)", "when just loaded", "used for")
	for _, s := range m.Spaces {
		measured, predicted := s.Memory/float64(s.Records), memory.predict(s.point(1))
		text += fmt.Sprintf("| %s | %d | %d | %s | %s | %s | %s | %s | %s |\n", thousands(s.Records), s.Key, s.Value,
			number(measured), number(predicted), percent(predicted/measured-1), number(s.Index/float64(s.Records)),
			number(s.Grown/float64(s.Records)), usedFor(s.Predicted))
	}
	return text
}

func usedFor(predicted bool) string {
	if predicted {
		return "**check**"
	}
	return "fit"
}

func percent(x float64) string { return fmt.Sprintf("%+.1f%%", 100*x) }

// costTable has a row for each verb: its constants in microseconds.
func costTable(models map[string]*model) string {
	var columns []string
	for _, term := range []term{termCall, termDescent, termRecord, termDepth, termFar(1), termKey, termValue} {
		columns = append(columns, term.name)
	}
	names := append([]string{"verb"}, columns...)
	text := header(append(names, "error of the fit, median", "largest")...)
	for _, family := range families {
		fitted := models[family.name]
		text += "| " + family.name + ", n " + family.what + " |"
		for _, column := range columns {
			cell := ""
			if i := slices.IndexFunc(fitted.terms, func(t term) bool { return t.name == column }); i >= 0 {
				cell = number(fitted.constants[i])
				if column == farName && fitted.constants[i] > 0 {
					cell += ", " + thousands(fitted.far)
				}
			}
			text += " " + cell + " |"
		}
		middle, most := fitted.residuals()
		text += fmt.Sprintf(" %.1f%% | %.1f%% |\n", 100*middle, 100*most)
	}
	return text
}

// checkTable holds the models against the namespaces that they were not fitted to.
func (m *measurements) checkTable(cpu, wall map[string]*model) string {
	text := header("records", "key, B", "value, B", "call", "CPU, µs", "model", "error", "latency, µs", "model", "error")
	var errors []float64
	for _, s := range m.Spaces {
		if !s.Predicted {
			continue
		}
		for _, verb := range modelVerbs() {
			c, p := s.Costs[verb.name()], s.point(verb.n)
			cpuIs, wallIs := median(c.CPU), median(c.Wall)
			cpuSaid, wallSaid := cpu[verb.family].predict(p), wall[verb.family].predict(p)
			text += fmt.Sprintf("| %s | %d | %d | %s | %s | %s | %s | %s | %s | %s |\n",
				thousands(s.Records), s.Key, s.Value, verb.name(), number(cpuIs), number(cpuSaid), percent(cpuSaid/cpuIs-1),
				number(wallIs), number(wallSaid), percent(wallSaid/wallIs-1))
			errors = append(errors, math.Abs(cpuSaid/cpuIs-1))
		}
	}
	return text + fmt.Sprintf("\nThe median error of processor time, without sign, is %.1f%%, the largest %.1f%%.\n",
		100*median(errors), 100*slices.Max(errors))
}

type fanModels struct{ pageCPU, pageWall, countCPU, countWall *model }

func (m *measurements) fanModels() (f fanModels, err error) {
	for _, fitted := range []struct {
		to *(*model)
		of func(*fan) []float64
	}{
		{&f.pageCPU, func(f *fan) []float64 { return f.Page.CPU }},
		{&f.pageWall, func(f *fan) []float64 { return f.Page.Wall }},
		{&f.countCPU, func(f *fan) []float64 { return f.Count.CPU }},
		{&f.countWall, func(f *fan) []float64 { return f.Count.Wall }},
	} {
		if *fitted.to, err = m.fanModel(fitted.of); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (m *measurements) fanTable(f fanModels) string {
	text := header("shards", "Page: CPU, µs", "model", "latency, µs", "model",
		"Count: CPU, µs", "model", "latency, µs", "model", "used for")
	for _, fan := range m.Fans {
		p := point{shards: fan.Shards}
		text += fmt.Sprintf("| %d |", fan.Shards)
		for _, cell := range []struct {
			measured []float64
			model    *model
		}{{fan.Page.CPU, f.pageCPU}, {fan.Page.Wall, f.pageWall}, {fan.Count.CPU, f.countCPU}, {fan.Count.Wall, f.countWall}} {
			text += fmt.Sprintf(" %s | %s |", number(median(cell.measured)), number(cell.model.predict(p)))
		}
		text += " " + usedFor(fan.Predicted) + " |\n"
	}
	each := func(m *model) string {
		return number(m.constants[0]) + " + " + number(m.constants[1]) + " a shard"
	}
	return text + fmt.Sprintf("| **constants, µs** | %s | | %s | | %s | | %s | | |\n",
		each(f.pageCPU), each(f.pageWall), each(f.countCPU), each(f.countWall))
}

// moveModel is the time of MIGRATE, fitted to all but the largest index.
func (m *measurements) moveModel() (*model, error) {
	var records []int
	var measured []float64
	for _, move := range m.Moves[:len(m.Moves)-1] {
		records, measured = append(records, move.Records), append(measured, move.Wall)
	}
	return fitRecords(records, measured, termThousand, termThousandDepth)
}

func (m *measurements) moveTable(moving *model) string {
	text := header("records of the index", "DUMP, bytes", "B a record", "MIGRATE, ms", "model", "error", "used for")
	refused := ""
	for i, move := range m.Moves {
		predicted := moving.predict(point{records: move.Records})
		text += fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", thousands(move.Records), thousands(move.Bytes),
			number(float64(move.Bytes)/float64(move.Records)), number(move.Wall/1000), number(predicted/1000),
			percent(predicted/move.Wall-1), usedFor(i == len(m.Moves)-1))
		if refused == "" && move.Refused != "" {
			refused = fmt.Sprintf("A target whose proto-max-bulk-len is %s bytes refused the index of %s records: `%s`.\n",
				thousands(move.Limit), thousands(move.Records), move.Refused)
		}
	}
	return text + fmt.Sprintf("\nBy the model a thousand records take %s µs, and %s µs for each doubling of N. %s",
		number(moving.constants[0]), number(moving.constants[1]), refused)
}

// forkModel is the time of a fork, fitted to all but the largest server.
func (m *measurements) forkModel() (*model, error) {
	var records []int
	var measured []float64
	for _, fork := range m.Forks[:len(m.Forks)-1] {
		records, measured = append(records, fork.Records), append(measured, fork.Fork)
	}
	return fitRecords(records, measured, termCall, termThousand)
}

func (m *measurements) forkTable(forking *model) string {
	text := header("records", "memory, MB", "fork, ms", "model", "error", "saving, s", "used for")
	for i, fork := range m.Forks {
		predicted := forking.predict(point{records: fork.Records})
		text += fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", thousands(fork.Records), number(fork.Memory/1e6),
			number(fork.Fork/1000), number(predicted/1000), percent(predicted/fork.Fork-1), number(fork.Seconds),
			usedFor(i == len(m.Forks)-1))
	}
	largest := point{records: m.fullMaster()}
	return text + fmt.Sprintf("\nBy the model, a master of %s GB that is used to %.0f%%, with %s records, stands still "+
		"for %s ms.\n",
		number(nodeMemory/1e9), 100*memoryUsed, thousands(largest.records), number(forking.predict(largest)/1000))
}

// fullMaster is how many records of the base shape a master has, by what those of
// the largest namespace take.
func (m *measurements) fullMaster() int {
	largest := slices.MaxFunc(m.Spaces, func(a, b *space) int { return a.Records - b.Records })
	return int(nodeMemory * memoryUsed / largest.Memory * float64(largest.Records))
}

// demandTable is what the big namespace needs of memory and processors.
func (m *measurements) demandTable(memory *model, cpu map[string]*model) string {
	shape := point{records: bigRecords / bigShards, key: keyLength, value: modelValue, n: 1}
	record := memory.predict(shape) + m.clusterBytes(memory)
	byMemory := record * bigRecords / (nodeMemory * memoryUsed)
	text := header("what", "a record or call", "in all", "masters")
	text += fmt.Sprintf("| memory of %s records | %s B | %s GB | %s |\n", thousands(bigRecords), number(record),
		number(record*bigRecords/1e9), masters(byMemory))
	row := func(what, verb string, n int) {
		// The more masters, the fewer records has each, and the more of them are in its processor's caches.
		shape.n, shape.server = n, int(bigRecords/byMemory)
		var call, busy, needed float64
		for range 20 {
			call = cpu[verb].predict(shape)
			busy = call / 1e6 * bigPuts / float64(n)
			needed = busy / coreUsed
			shape.server = int(bigRecords / max(needed, byMemory))
		}
		text += fmt.Sprintf("| %s | %s µs | %s cores | %s |\n", what, number(call), number(busy), masters(needed))
	}
	for _, n := range []int{1, 10, 250} {
		row(fmt.Sprintf("%s new records put a second, %d a call", thousands(bigPuts), n), "Put", n)
		row(fmt.Sprintf("%s records put again a second, %d a call", thousands(bigPuts), n), "Put again", n)
	}
	row(thousands(bigPuts)+" Gets a second", "Get", 1)
	return text + fmt.Sprintf("\nFor %s shards, with keys of %d bytes and values of %d; masters of %s GB, "+
		"%.0f%% of it used, and %.0f%% of one core.\n",
		thousands(bigShards), keyLength, modelValue, number(nodeMemory/1e9), 100*memoryUsed, 100*coreUsed)
}

func masters(x float64) string { return thousands(int(math.Ceil(x))) }

// shardTable is what the number of shards does to the big namespace.
func (m *measurements) shardTable(cpu map[string]*model, fans fanModels, moving *model) string {
	text := header("shards", "records a shard", "Put of 250, ms", "Match of 500, ms", "250 leaps, ms",
		"DUMP of an index, MB", "MIGRATE of it, s", "Page of all shards, CPU ms", "latency, ms")
	last := m.Moves[len(m.Moves)-1]
	bytes := float64(last.Bytes) / float64(last.Records)
	for _, shards := range []int{1, 48, 256, 1_024, bigShards, 16_384} {
		p := point{records: bigRecords / shards, server: m.fullMaster(), key: keyLength, value: modelValue, shards: shards}
		cost := func(verb string, n int) string {
			p.n = n
			return number(cpu[verb].predict(p) / 1000)
		}
		dump := bytes * float64(p.records)
		size := number(dump / 1e6)
		if dump > bulkLimit {
			size = "**" + size + "**"
		}
		text += fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", thousands(shards), thousands(p.records),
			cost("Put", 250), cost("Match", 500), cost("Leaps", 250), size, number(moving.predict(p)/1e6),
			number(fans.pageCPU.predict(p)/1000), number(fans.pageWall.predict(p)/1000))
	}
	return text + fmt.Sprintf("\n%s records in all, %s on a node. Bold: above proto-max-bulk-len, which no MIGRATE "+
		"passes; that is %s records of this key length.\n",
		thousands(bigRecords), thousands(m.fullMaster()), thousands(int(bulkLimit/bytes)))
}
