package main

import (
	"context"
	"errors"
)

// The exit codes, which scripts can rely on. A broken pipe ends the program
// with SIGPIPE, as other filters end.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitNothing     = 3
	exitFindings    = 4
	exitInterrupted = 130
)

const exitCodesHelp = `Exit codes:
  0    done
  1    failed: an error of the server or the input, or you answered no
  2    used wrongly: a flag, key, pattern or TTL is not valid
  3    no such record, or nothing matched
  4    check, doctor or scripts verify found something to repair
  130  interrupted; each call was done whole or not at all`

// outcome is an error with an exit code of its own.
type outcome struct {
	code int
	error
}

func (o outcome) Unwrap() error { return o.error }

func usageError(err error) error {
	if err == nil {
		return nil
	}
	return outcome{exitUsage, err}
}

// partly is an error that came when some work was done already, which stays.
type partly struct {
	error
	done string
}

func (p partly) Error() string { return p.error.Error() + " (" + p.done + " before)" }

func (p partly) Unwrap() error { return p.error }

// interrupted takes the place of the many errors that a cancelled context gives.
func interrupted(err error) error {
	interrupted := errors.New("interrupted")
	var part partly
	if errors.As(err, &part) {
		return partly{interrupted, part.done}
	}
	return interrupted
}

func exitCode(ctx context.Context, err error, started bool) int {
	var own outcome
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &own):
		return own.code
	case !started:
		return exitUsage
	}
	return exitFailure
}
