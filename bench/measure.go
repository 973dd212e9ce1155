package main

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Sample is what one round of one contender took.
type Sample struct {
	Records     int           `json:"records"`
	Wall        time.Duration `json:"wall_ns"`
	ServerCPU   time.Duration `json:"server_cpu_ns"`
	Trips       int64         `json:"round_trips"`
	Sent        int64         `json:"bytes_sent"`
	Received    int64         `json:"bytes_received"`
	Allocs      uint64        `json:"allocations"`              // of the whole Go process
	LongestCall time.Duration `json:"longest_call_ns"`          // of a script; 0: none above slowlogThreshold
	IndexBytes  float64       `json:"index_bytes,omitempty"`    // MEMORY USAGE of the indexes, a record
	MemoryBytes float64       `json:"memory_bytes,omitempty"`   // used_memory over that of the records alone, a record
	Live        int           `json:"live,omitempty"`           // records that are there at the end
	Entries     int           `json:"entries,omitempty"`        // of the index, at the end
	Stale       float64       `json:"stale,omitempty"`          // the share of entries without a record, at the most
	Found       float64       `json:"found,omitempty"`          // the share of live records that their user's pattern finds
	Commands    int64         `json:"commands,omitempty"`       // that the server has done, with what scripts call
	Loads       int           `json:"loads,omitempty"`          // from where the records come from
	WaitMedian  time.Duration `json:"wait_median_ns,omitempty"` // of the callers of a crowd
	WaitP99     time.Duration `json:"wait_p99_ns,omitempty"`
}

// measure runs what is to be measured, against the server that it uses.
func measure(ctx context.Context, s *server, run func(context.Context) (int, error)) (sample Sample, err error) {
	if err := s.control.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
		return sample, err
	}
	commands, err := s.commands(ctx)
	if err != nil {
		return sample, err
	}
	runtime.GC() // nobody pays for another's garbage
	cpu, err := s.cpu(ctx)
	if err != nil {
		return sample, err
	}
	trips, sent, received := s.wire.trips.Load(), s.wire.sent.Load(), s.wire.received.Load()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()

	sample.Records, err = run(ctx)

	sample.Wall = time.Since(start)
	runtime.ReadMemStats(&after)
	sample.Allocs = after.Mallocs - before.Mallocs
	sample.Trips, sample.Sent, sample.Received = s.wire.trips.Load()-trips, s.wire.sent.Load()-sent, s.wire.received.Load()-received
	if err != nil {
		return sample, err
	}
	cpuAfter, err := s.cpu(ctx)
	if err != nil {
		return sample, err
	}
	sample.ServerCPU = cpuAfter - cpu
	commandsAfter, err := s.commands(ctx)
	if err != nil {
		return sample, err
	}
	sample.Commands = commandsAfter - commands
	sample.LongestCall, err = s.longestCall(ctx)
	return sample, err
}

// cpu is the processor time that the server has used, user and system.
func (s *server) cpu(ctx context.Context) (total time.Duration, err error) {
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := s.info(ctx, "cpu", field)
		if err != nil {
			return 0, err
		}
		total += time.Duration(seconds * float64(time.Second))
	}
	return total, nil
}

// info is one number of INFO.
func (s *server) info(ctx context.Context, section, field string) (float64, error) {
	text, err := s.control.Info(ctx, section).Result()
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^` + field + `:([0-9.]+)`).FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("INFO %s has no %s", section, field)
	}
	return strconv.ParseFloat(found[1], 64)
}

// commands is how many the server has done, but for INFO, with which it is asked.
func (s *server) commands(ctx context.Context) (total int64, err error) {
	text, err := s.control.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, err
	}
	for _, found := range regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+)`).FindAllStringSubmatch(text, -1) {
		if found[1] == "info" {
			continue
		}
		calls, err := strconv.ParseInt(found[2], 10, 64)
		if err != nil {
			return 0, err
		}
		total += calls
	}
	return total, nil
}

// longestCall is that of a script since the last SLOWLOG RESET.
func (s *server) longestCall(ctx context.Context) (longest time.Duration, err error) {
	entries, err := s.control.SlowLogGet(ctx, 10_000).Result()
	for _, entry := range entries {
		if len(entry.Args) > 0 && strings.HasPrefix(strings.ToUpper(entry.Args[0]), "EVALSHA") {
			longest = max(longest, entry.Duration)
		}
	}
	return longest, err
}
