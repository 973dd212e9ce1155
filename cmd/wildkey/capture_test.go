package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rivo/uniseg"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestCaptures types a session at terminals of two widths and expects what each shows, with
// ^[ for the escape character. Only a key or a command that is to be pasted may be wider.
func TestCaptures(t *testing.T) {
	for _, columns := range []int{80, 140} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			file := fmt.Sprintf("testdata/terminal/%d.txt", columns)
			content, err := os.ReadFile(file)
			must(t, err)
			redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
				got := typistAt(t, server, columns)(string(content))
				got = regexp.MustCompile("\r\x1b\\[[JK](?:[^\r\n\x1b]+\r)?").ReplaceAllString(got, "") // how many bars are drawn is a matter of time
				for _, line := range regexp.MustCompile("(?m)^[^#$].*").FindAllString(got, -1) {
					line = regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(line, "")
					copied := len(strings.Fields(line)) <= 2 || strings.Contains(line, "-> redis-cli")
					if width := uniseg.StringWidth(line); width > columns && !copied {
						t.Errorf("%q has %d columns", line, width)
					}
				}
				// Another server needs another amount.
				got = regexp.MustCompile(`\d+ B +~\d+ B`).ReplaceAllString(got, "999 B          ~999 B")
				got = regexp.MustCompile(`[\d.]+ ([KM]iB)`).ReplaceAllString(got, "999.9 $1")
				got = regexp.MustCompile(`(~999.9 KiB) +(~999.9 KiB)`).ReplaceAllString(got, "$1    $2")
				compare(t, file, string(content), strings.ReplaceAll(got, "\x1b", "^["))
			})
		})
	}
}
