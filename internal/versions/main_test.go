package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestPage holds the page to the results.
func TestPage(t *testing.T) {
	all, err := loadAll()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(module.Path(page))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), render(all)); diff != "" {
		t.Errorf("(-%s +results)\n%s", page, diff)
	}
}

// TestCount counts the tests of one server alone, each without its subtests, and what
// failed anywhere.
func TestCount(t *testing.T) {
	const events = `{"Action":"pass","Test":"TestA/engine"}
{"Action":"pass","Test":"TestA/redis-7.4.1"}
{"Action":"pass","Test":"TestA/redis-7.4.10"}
{"Action":"output","Test":"TestB/case/redis-7.4.1/sub","Output":"    b_test.go:12: no such command\n"}
{"Action":"skip","Test":"TestB/case/redis-7.4.1/sub"}
{"Action":"pass","Test":"TestB/case/redis-7.4.1/other"}
{"Action":"pass","Test":"TestB/case/redis-7.4.1"}
{"Action":"pass","Test":"TestC/redis-7.4.1/sub"}
{"Action":"fail","Test":"TestC/redis-7.4.1"}
{"Action":"fail","Test":"TestC"}
{"Action":"output","Test":"TestD","Output":"    d_test.go:1: as it should not\n"}
{"Action":"fail","Test":"TestD"}
{"Action":"fail"}
`
	got, reproach := count(strings.NewReader(events), redisserver.Program{Name: "redis", Version: "7.4.1"})
	want := tested{
		Passed: 3, Failed: []string{"TestC/redis-7.4.1", "TestD"},
		Skipped: map[string]string{"TestB/case/redis-7.4.1/sub": "no such command"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if reproach != "    d_test.go:1: as it should not\n" {
		t.Errorf("it says %q", reproach)
	}
}

// TestRender tells what failed, was skipped or was not run from what passed.
func TestRender(t *testing.T) {
	text := render([]result{
		{"redis", "6.2.16", map[string]tested{
			".":    {Day: "2026-01-02", Passed: 3, Skipped: map[string]string{"TestA/redis-6.2.16/b": "redis-6.2.16 has none"}},
			"docs": {Day: "2026-01-02"},
		}},
		{"valkey", "9.1.0", map[string]tested{
			".":     {Day: "2026-01-03", Passed: 2, Failed: []string{"TestB/valkey-9.1.0"}},
			"admin": {Day: "2026-01-04", Passed: 5},
		}},
	})
	_, table, _ := strings.Cut(text, preface)
	want := `| package | Redis 6.2.16 | Valkey 9.1.0 |
| --- | ---: | ---: |
| ` + "`.`" + ` | 3, 1 skipped | 2, **1 failed** |
| ` + "`admin`" + ` | not run | 5 |
| **all** | 3, 1 skipped | 7, **1 failed** |
| run on | 2026-01-02 | 2026-01-03 to 2026-01-04 |

The tests of these packages talk to no server: ` + "`docs`" + `.

## Skipped or failed

- ` + "`.`" + ` TestA/b: the server has none (Redis 6.2.16)
- ` + "`.`" + ` TestB: **failed** (Valkey 9.1.0)
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Error(diff)
	}
}
