package main

import (
	"cmp"
	"errors"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// ttl is the value of the flags --ttl and --no-expiry; 0: neither was given.
type ttl time.Duration

// flags gives the command --ttl and --no-expiry, of which it takes one.
func (d *ttl) flags(command *cobra.Command) {
	command.Flags().Var(d, "ttl", "time to live from now: 90s, 36h30m, 1d12h, 1w")
	command.Flags().BoolFunc("no-expiry", "never expire", func(string) error {
		*d = ttl(wildkey.NoExpiry)
		return nil
	})
	command.MarkFlagsMutuallyExclusive("ttl", "no-expiry")
}

func (d *ttl) Type() string   { return "duration" }
func (d *ttl) String() string { return "" }

// aTime is weeks, days, and what time.ParseDuration reads, each of which may be missing.
var aTime = regexp.MustCompile(`^(?:(\d+)w)?(?:(\d+)d)?((?:\d+(?:\.\d+)?(?:h|m|s|ms))*)$`)

// Set reads a time as the tool shows one, and others.
func (d *ttl) Set(text string) error {
	parts := aTime.FindStringSubmatch(text)
	if text == "" || parts == nil {
		return errors.New("it must be a time such as 90s, 36h30m, 1d12h or 1w")
	}
	weeks, errWeeks := strconv.ParseUint("0"+parts[1], 10, 32)
	days, errDays := strconv.ParseUint("0"+parts[2], 10, 32)
	rest, err := time.ParseDuration("0" + parts[3])
	const day = 24 * time.Hour
	days += 7 * weeks
	switch {
	case cmp.Or(errWeeks, errDays, err) != nil || days > uint64((math.MaxInt64-rest)/day):
		return errors.New("the longest time is 292 years; give --no-expiry for records that never expire")
	case days == 0 && rest < time.Millisecond:
		return errors.New("it is less than a millisecond")
	}
	*d = ttl(time.Duration(days)*day + rest)
	return nil
}
