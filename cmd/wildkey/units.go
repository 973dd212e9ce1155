package main

import (
	"fmt"
	"strconv"
	"time"
)

// number returns n with a comma before each three digits.
func number[T int | int64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// counted returns "1 entry" or "2 entries".
func counted[T int | int64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

func records[T int | int64](n T) string { return counted(n, "record", "records") }

// andLeases returns what follows a number of records: how many leases there are beside
// them, or nothing where there are none.
func andLeases[T int | int64](n T) string {
	if n == 0 {
		return ""
	}
	return ", " + counted(n, "lease", "leases")
}

// size returns bytes in the largest unit that they fill.
func size(bytes int64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	amount := float64(bytes) / (1 << 10)
	for len(units) > 1 && amount >= 1<<10 {
		amount, units = amount/(1<<10), units[1:]
	}
	return fmt.Sprintf("%.1f %s", amount, units[0])
}

// percent returns a share of 0 to 1. What is not quite none is not shown as 0.
func percent(share float64) string {
	if share > 0 && share < 0.001 {
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}

// span returns the two largest units of a time left, cut.
func span(left time.Duration) string {
	day := 24 * time.Hour
	switch {
	case left >= day:
		return fmt.Sprintf("%dd%dh", left/day, left%day/time.Hour)
	case left >= time.Hour:
		return fmt.Sprintf("%dh%dm", left/time.Hour, left%time.Hour/time.Minute)
	case left >= time.Minute:
		return fmt.Sprintf("%dm%ds", left/time.Minute, left%time.Minute/time.Second)
	case left >= time.Second:
		return fmt.Sprintf("%ds", left/time.Second)
	}
	return fmt.Sprintf("%dms", max(0, left/time.Millisecond))
}
