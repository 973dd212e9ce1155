package luatest_test

import (
	"crypto/sha1"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/luatest"
)

const ticket = "if redis.call('DECR', KEYS[1]) < 0 then\n  return 'sold out'\nend\nreturn 'sold'\n"

func ticketFiles() fstest.MapFS {
	return fstest.MapFS{
		"scripts/ticket.lua": {Data: []byte(ticket)},
		"scripts/idle.lua":   {Data: []byte("return 1\n")},
		"broken/broken.lua":  {Data: []byte("return 1 1\n")},
	}
}

func coverTicket(t *testing.T) *luatest.Coverage {
	t.Helper()
	coverage := luatest.NewCoverage()
	if err := coverage.AddFiles(ticketFiles(), "scripts/*.lua"); err != nil {
		t.Fatal(err)
	}
	engine := luatest.New()
	engine.SetCoverage(coverage)
	engine.Do("SET", "tickets", "5")
	engine.Expect(t, `"sold"`, ticket, []string{"tickets"})
	return coverage
}

func TestWriteLCOV(t *testing.T) {
	var got strings.Builder
	if err := coverTicket(t).WriteLCOV(&got); err != nil {
		t.Fatal(err)
	}
	want := `TN:
SF:scripts/idle.lua
BRF:0
BRH:0
DA:1,0
LF:1
LH:0
end_of_record
TN:
SF:scripts/ticket.lua
BRDA:1,0,0,0
BRDA:1,0,1,1
BRF:2
BRH:1
DA:1,1
DA:2,0
DA:4,1
LF:3
LH:2
end_of_record
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRequire(t *testing.T) {
	failed := failures{}
	coverTicket(t).Require(&failed, 60)
	coverTicket(t).Require(&failed, 0)
	luatest.NewCoverage().Require(&failed, 0)
	want := []string{
		"0.0% of scripts/idle.lua has run, and 60% is asked for\nscripts/idle.lua:1 has not run",
		"no script has run: is the Coverage set on an engine, and has AddFiles its files?",
	}
	if diff := cmp.Diff(want, []string(failed)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	failed = failures{}
	coverTicket(t).Require(&failed, 100)
	ofTicket := "60.0% of scripts/ticket.lua has run, and 100% is asked for\n" +
		"scripts/ticket.lua:2 has not run\nscripts/ticket.lua:1 never redis.call('DECR', KEYS[1]) < 0: true"
	if len(failed) != 2 || failed[1] != ofTicket {
		t.Errorf("%q", failed)
	}
}

func TestAddFilesRefuses(t *testing.T) {
	for pattern, want := range map[string]string{
		"none/*.lua":   `luatest: no file matches "none/*.lua"`,
		"broken/*.lua": "luatest: broken/broken.lua: user_script:1: '<eof>' expected near '1'",
		"[":            "luatest: syntax error in pattern",
	} {
		err := luatest.NewCoverage().AddFiles(ticketFiles(), pattern)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", pattern, err, want)
		}
	}
}

// A script that ran before its file was known has a name from then on.
func TestAddFilesAfterwards(t *testing.T) {
	coverage, engine := luatest.NewCoverage(), luatest.New()
	engine.SetCoverage(coverage)
	engine.Run(ticket, []string{"tickets"})
	if name := coverage.Scripts()[0].Name(); name != fmt.Sprintf("%x", sha1.Sum([]byte(ticket))) {
		t.Errorf("before it is %s", name)
	}
	if err := coverage.AddFiles(ticketFiles(), "scripts/ticket.lua"); err != nil {
		t.Fatal(err)
	}
	if scripts := coverage.Scripts(); len(scripts) != 1 || scripts[0].Name() != "scripts/ticket.lua" || scripts[0].Percent() != 60 {
		t.Errorf("then: %+v", scripts)
	}
}
