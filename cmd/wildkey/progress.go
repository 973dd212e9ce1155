package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"
)

// unknown is the total of what cannot be known beforehand.
const unknown = 0

// progress shows how far a run is: on a terminal, and not for machines. The
// zero progress shows nothing.
//
// It is one line, which the terminal's width at that moment holds, and the cursor stays at its
// start: there a ^C is echoed, and from there all of it is cleared, also what a terminal that
// was made narrower has moved to the lines beneath. The libraries for bars leave the cursor behind it.
type progress struct{ *bar }

type bar struct {
	out      io.Writer
	width    func() int
	doing    string
	total    int64
	counting func(n int64) string

	mu      sync.Mutex // calls on several shards come back at the same time
	done    int64
	begun   time.Time
	drawn   time.Time
	columns int // of the terminal then
}

func (t *tool) progress(doing string, total int64, counting func(int64) string) progress {
	if !t.hasProgress() {
		return progress{}
	}
	b := &bar{
		out: t.errOut, width: func() int { return t.width(t.errOut) },
		doing: doing, total: total, counting: counting, begun: time.Now(),
	}
	b.draw()
	return progress{b}
}

func (t *tool) hasProgress() bool {
	return t.isTerminal(t.errOut) && !t.json && os.Getenv("TERM") != "dumb"
}

// What a progress counts.
var (
	inRecords = records[int64]
	inEntries = func(n int64) string { return counted(n, "entry", "entries") }
	inBytes   = size
)

func (p progress) add(n int) {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(n)
	if time.Since(p.drawn) >= 100*time.Millisecond {
		p.draw()
	}
}

// end takes the bar away, so that what follows stands in its place.
func (p progress) end() {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.drawn = time.Time{}
}

func (b *bar) draw() {
	b.clear()
	b.drawn = time.Now()
	io.WriteString(b.out, b.line(time.Since(b.begun), b.columns-1)+"\r")
}

// clear takes the line away, and if the terminal has become narrower all that is beneath.
func (b *bar) clear() {
	before := b.columns
	if b.columns = b.width(); b.columns < before {
		io.WriteString(b.out, "\r\x1b[J")
	} else {
		io.WriteString(b.out, "\r\x1b[K")
	}
}

// line returns as much as the columns hold. A total that has been passed was a guess, and goes.
func (b *bar) line(after time.Duration, columns int) string {
	const cells = 20
	known := b.total > 0 && b.done <= b.total
	parts := []string{b.doing}
	if known {
		parts = append(parts, fmt.Sprintf("%d%%", 100*b.done/b.total))
	}
	count := b.counting(b.done)
	if known {
		total := b.counting(b.total)
		_, unit, _ := strings.Cut(total, " ")
		count = strings.TrimSuffix(count, " "+unit) + " of " + total
	}
	parts = append(parts, count)
	if known {
		full := int(cells * b.done / b.total)
		parts = append(parts, "["+strings.Repeat("#", full)+strings.Repeat(".", cells-full)+"]")
	}
	if after >= time.Second {
		parts = append(parts, b.counting(int64(float64(b.done)/after.Seconds()))+"/s")
		if known && b.done > 0 {
			left := time.Duration(float64(after) / float64(b.done) * float64(b.total-b.done))
			parts = append(parts, span(left.Truncate(time.Second))+" left")
		}
	}
	line := ""
	for i, part := range parts {
		if i > 0 {
			part = "  " + part
		}
		if uniseg.StringWidth(line)+uniseg.StringWidth(part) > columns {
			break
		}
		line += part
	}
	return line
}
