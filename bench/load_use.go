package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wildkey/wildkey"
)

// commandUse is what calls of one command, or script, have taken on the server's
// own clock.
type commandUse struct {
	calls  int
	took   time.Duration
	median time.Duration // where the single calls are known
}

func (u commandUse) mean() time.Duration {
	if u.calls == 0 {
		return 0
	}
	return u.took / time.Duration(u.calls)
}

// nodeUse is what one server has used.
type nodeUse struct {
	cpu      time.Duration
	commands map[string]commandUse
}

// holding is what one server holds, in bytes.
type holding struct{ used, peak, resident float64 }

// loadCommands are those that clients send.
var loadCommands = []string{"evalsha", "evalsha_ro", "get", "mget", "scan"}

func (l *loadRun) usage(ctx context.Context) (all []nodeUse, err error) {
	for _, node := range l.nodes {
		use := nodeUse{commands: map[string]commandUse{}}
		if use.cpu, err = node.cpu(ctx); err != nil {
			return nil, err
		}
		text, err := node.control.Info(ctx, "commandstats").Result()
		if err != nil {
			return nil, err
		}
		for _, found := range commandLine.FindAllStringSubmatch(text, -1) {
			calls, errCalls := strconv.Atoi(found[2])
			micros, errMicros := strconv.Atoi(found[3])
			if errCalls != nil || errMicros != nil {
				return nil, fmt.Errorf("INFO commandstats: %s", found[0])
			}
			use.commands[found[1]] = commandUse{calls: calls, took: time.Duration(micros) * time.Microsecond}
		}
		all = append(all, use)
	}
	return all, nil
}

var commandLine = regexp.MustCompile(`(?m)^cmdstat_([a-z_|]+):calls=(\d+),usec=(\d+),`)

// account takes what was used between two looks.
func (t *tally) account(before, after []nodeUse) {
	for i := range after {
		t.cpu = append(t.cpu, after[i].cpu-before[i].cpu)
		for _, name := range loadCommands {
			sum, was, is := t.commands[name], before[i].commands[name], after[i].commands[name]
			t.commands[name] = commandUse{calls: sum.calls + is.calls - was.calls, took: sum.took + is.took - was.took}
		}
	}
}

// cpuACall is the processor time of all servers, in microseconds.
func (t *tally) cpuACall() float64 { return micros(t.servers()) / float64(t.calls) }

func (t *tally) servers() (sum time.Duration) {
	for _, cpu := range t.cpu {
		sum += cpu
	}
	return sum
}

// capacity is how many such calls one core would carry a second, if it were the
// busiest node's.
func (t *tally) capacity() float64 { return float64(t.calls) / slices.Max(t.cpu).Seconds() }

// shares are those of each node in the processor time.
func (t *tally) shares() string {
	var shares []string
	for _, cpu := range t.cpu {
		shares = append(shares, fmt.Sprintf("%.0f%%", 100*float64(cpu)/float64(t.servers())))
	}
	return strings.Join(shares, " ")
}

// weigh asks each node what it holds, with an empty slow log.
func (l *loadRun) weigh(ctx context.Context) error {
	if err := l.resetSlow(ctx, loadSlow); err != nil {
		return err
	}
	for _, node := range l.nodes {
		var holds holding
		for field, to := range map[string]*float64{
			"used_memory": &holds.used, "used_memory_peak": &holds.peak, "used_memory_rss": &holds.resident,
		} {
			var err error
			if *to, err = node.info(ctx, "memory", field); err != nil {
				return err
			}
		}
		l.holds = append(l.holds, holds)
		bytes, err := indexUsage(ctx, node.control)
		if err != nil {
			return err
		}
		l.indexBytes += bytes
	}
	return nil
}

// resetSlow empties the slow logs and sets what goes there.
func (l *loadRun) resetSlow(ctx context.Context, threshold time.Duration) error {
	for _, node := range l.nodes {
		limit := fmt.Sprint(threshold.Microseconds())
		if err := node.control.ConfigSet(ctx, "slowlog-log-slower-than", limit).Err(); err != nil {
			return err
		}
		if err := node.control.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
			return err
		}
	}
	return nil
}

// slowCalls are the durations of the calls in the slow logs, by script.
func (l *loadRun) slowCalls(ctx context.Context) (map[string][]time.Duration, error) {
	names, found := map[string]string{}, map[string][]time.Duration{}
	for _, script := range wildkey.Scripts() {
		names[script.SHA1] = script.Name
	}
	for _, node := range l.nodes {
		entries, err := node.control.SlowLogGet(ctx, -1).Result()
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if len(entry.Args) > 1 && strings.HasPrefix(strings.ToUpper(entry.Args[0]), "EVALSHA") {
				name := names[entry.Args[1]]
				found[name] = append(found[name], entry.Duration)
			}
		}
	}
	return found, nil
}

// census has every call logged for a while, which INFO commandstats cannot tell
// apart by script. The logging costs time of its own, so nothing else is
// measured meanwhile.
func (l *loadRun) census(ctx context.Context) error {
	if err := l.resetSlow(ctx, 0); err != nil {
		return err
	}
	if err := l.clients(ctx, time.Now().Add(censusTime), nil); err != nil {
		return err
	}
	slow, err := l.slowCalls(ctx)
	if err != nil {
		return err
	}
	l.scripts = map[string]commandUse{}
	for name, durations := range slow {
		slices.Sort(durations)
		use := commandUse{calls: len(durations), median: durations[len(durations)/2]}
		for _, duration := range durations {
			use.took += duration
		}
		l.scripts[name] = use
	}
	return l.resetSlow(ctx, loadSlow)
}
