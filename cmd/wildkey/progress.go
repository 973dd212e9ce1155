package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// unknown is the total of what cannot be known beforehand.
const unknown = -1

// progress shows how far a run is: on a terminal, and not for machines. The
// zero progress shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

func (t *tool) progress(doing string, total int64, counting []progressbar.Option) progress {
	return progress{progressbar.NewOptions64(total, append([]progressbar.Option{
		progressbar.OptionSetDescription(doing),
		progressbar.OptionSetWriter(t.errOut),
		progressbar.OptionSetVisibility(t.isTerminal(t.errOut) && !t.json),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetWidth(20),
		progressbar.OptionShowCount(),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(true), // the whole line goes, with a ^C that the terminal has echoed
		// A spinner with an interval is drawn by a goroutine that goes on after Clear.
		progressbar.OptionSetSpinnerChangeInterval(0),
	}, counting...)...)}
}

// What a progress counts.
var (
	inRecords = []progressbar.Option{progressbar.OptionShowIts(), progressbar.OptionSetItsString("records")}
	inEntries = []progressbar.Option{progressbar.OptionShowIts(), progressbar.OptionSetItsString("entries")}
	inBytes   = []progressbar.Option{progressbar.OptionShowBytes(true)}
)

func (p progress) add(n int) {
	if p.bar != nil {
		p.bar.Add(n)
	}
}

// end takes the bar away, so that what follows stands in its place.
func (p progress) end() {
	if p.bar != nil {
		p.bar.Clear()
	}
}
