package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// ttl is the value of the flags --ttl and --no-expiry; 0: neither was given.
type ttl time.Duration

// flags gives the command --ttl and --no-expiry, of which it takes one.
func (d *ttl) flags(command *cobra.Command) {
	command.Flags().Var(d, "ttl", "how long records live from now: 90s, 24h, 7d")
	command.Flags().BoolFunc("no-expiry", "records never expire", func(string) error {
		*d = ttl(wildkey.NoExpiry)
		return nil
	})
	command.MarkFlagsMutuallyExclusive("ttl", "no-expiry")
}

func (d *ttl) Type() string   { return "duration" }
func (d *ttl) String() string { return "" }

// Set reads what time.ParseDuration does, and whole days.
func (d *ttl) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is no number of days", days)
		}
		*d = ttl(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < time.Millisecond {
		return fmt.Errorf("%q is no time of a millisecond or more, such as 90s, 24h or 7d", text)
	}
	*d = ttl(duration)
	return nil
}
