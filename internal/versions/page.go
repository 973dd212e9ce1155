package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const preface = `# Versions of Redis and Valkey

How many tests passed on each server, in each package. ` + "`make versions`" + ` runs them on the servers that
` + "`WILDKEY_SERVERS`" + ` lists and writes this page. Only tests that talk to that server count, each with its cases. Redis calls
its unstable branch 255.255.255.

`

// render writes the page.
func render(all []result) string {
	var b strings.Builder
	b.WriteString(preface)
	directories := map[string]bool{}
	head, line := "| package |", "| --- |"
	for _, r := range all {
		head += " " + r.title() + " |"
		line += " ---: |"
		for directory := range r.Packages {
			directories[directory] = true
		}
	}
	fmt.Fprintf(&b, "%s\n%s\n", head, line)
	var serverless []string
	for _, directory := range slices.Sorted(maps.Keys(directories)) {
		if !slices.ContainsFunc(all, func(r result) bool { return r.Packages[directory].any() }) {
			serverless = append(serverless, "`"+directory+"`")
			continue
		}
		fmt.Fprintf(&b, "| `%s` |", directory)
		for _, r := range all {
			fmt.Fprintf(&b, " %s |", r.cell(directory))
		}
		b.WriteString("\n")
	}
	b.WriteString("| **all** |")
	for _, r := range all {
		fmt.Fprintf(&b, " %s |", r.total())
	}
	b.WriteString("\n| run on |")
	for _, r := range all {
		fmt.Fprintf(&b, " %s |", r.days())
	}
	b.WriteString("\n")
	if len(serverless) > 0 {
		fmt.Fprintf(&b, "\nThe tests of these packages talk to no server: %s.\n", strings.Join(serverless, ", "))
	}
	b.WriteString(exceptions(all))
	return b.String()
}

func (r result) title() string { return strings.ToUpper(r.Name[:1]) + r.Name[1:] + " " + r.Version }

func (t tested) any() bool { return t.Passed+len(t.Failed)+len(t.Skipped) > 0 }

func (r result) cell(directory string) string {
	if _, ran := r.Packages[directory]; !ran {
		return "not run"
	}
	return r.Packages[directory].short()
}

func (t tested) short() string {
	text := fmt.Sprint(t.Passed)
	if n := len(t.Failed); n > 0 {
		text += fmt.Sprintf(", **%d failed**", n)
	}
	if n := len(t.Skipped); n > 0 {
		text += fmt.Sprintf(", %d skipped", n)
	}
	return text
}

func (r result) total() string {
	sum := tested{Skipped: map[string]string{}}
	for directory, t := range r.Packages {
		sum.Passed += t.Passed
		sum.Failed = append(sum.Failed, t.Failed...)
		for test, reason := range t.Skipped {
			sum.Skipped[directory+" "+test] = reason
		}
	}
	return sum.short()
}

func (r result) days() string {
	var days []string
	for _, t := range r.Packages {
		days = append(days, t.Day)
	}
	if len(days) == 0 {
		return ""
	}
	first, last := slices.Min(days), slices.Max(days)
	if first == last {
		return last
	}
	return first + " to " + last
}

// exceptions lists the tests that failed or were skipped, each once with the
// servers on which that is so.
func exceptions(all []result) string {
	on := map[string][]string{} // the titles of the servers for each line
	for _, r := range all {
		program := r.Name + "-" + r.Version
		add := func(directory, test, why string) {
			test = strings.ReplaceAll(test, "/"+program, "")
			line := fmt.Sprintf("`%s` %s: %s", directory, test, strings.ReplaceAll(why, program, "the server"))
			on[line] = append(on[line], r.title())
		}
		for directory, t := range r.Packages {
			for _, test := range t.Failed {
				add(directory, test, "**failed**")
			}
			for test, why := range t.Skipped {
				add(directory, test, why)
			}
		}
	}
	if len(on) == 0 {
		return ""
	}
	text := "\n## Skipped or failed\n\n"
	for _, line := range slices.Sorted(maps.Keys(on)) {
		text += fmt.Sprintf("- %s (%s)\n", line, strings.Join(on[line], ", "))
	}
	return text
}
