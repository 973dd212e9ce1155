package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// verdict is what is found on the servers when a fault is over.
type verdict struct {
	records  int      // live ones
	stale    int      // index entries without a record
	breaches []string // of the invariant
	tool     int      // breaches that wildkey check reports
	hidden   []string // records that Get finds and Match does not
	untrue   []string // what was acknowledged and is not so, halves, and answers that cannot be
	lost     int      // acknowledged and not so, where that is the fault itself
	doubtful int      // records of which a client was not told what became of a call
	doubted  int      // those of them that the call has changed
}

// judge looks at the servers when the load rests and they work again. Client
// goes straight to them: a *redis.Client or a *redis.ClusterClient. From then on
// each record is, to the load, what it was found to be.
//
// Where the servers may have forgotten what they had acknowledged (lossy), as a
// replica that is promoted, that is counted and no breach.
func (l *load) judge(t *testing.T, client redis.UniversalClient, lossy bool) (v verdict) {
	t.Helper()
	report, err := checkInvariant(client)
	must(t, err)
	v.records, v.stale, v.breaches = report.Records, report.Stale(), report.Breaches
	v.tool = checkWithTool(t, client, l.loadOptions.cache)
	l.mu.Lock()
	v.untrue, l.wrong = l.wrong, nil
	l.mu.Unlock()

	// With a client of its own: that of the load may go through a proxy.
	cache, err := wildkey.New(client, l.loadOptions.cache)
	must(t, err)
	matched := map[string]string{}
	for entry, err := range cache.Match(ctx, everything) {
		must(t, err)
		matched[entry.Key.String()] = string(entry.Value)
	}
	most, keys := len(matched), 0
	for key, err := range cache.MatchKeys(ctx, everything) {
		must(t, err)
		if _, ok := matched[key.String()]; !ok {
			v.untrue = append(v.untrue, fmt.Sprintf("MatchKeys finds %s, and Match does not", key))
		}
		keys++
	}
	counted, err := cache.Count(ctx, everything)
	must(t, err)
	seen := 0 // by Match and by Get
	for _, w := range l.workers {
		for n, user := range w.users {
			values, err := cache.GetMany(ctx, keysOf(user)...)
			must(t, err)
			if n%2 == together {
				l.seeWhole("GetMany", user, values)
			}
			for i, f := range user {
				key, value := f.key.String(), string(values[i])
				found, ok := matched[key]
				if delete(matched, key); value != "" && !ok {
					v.hidden = append(v.hidden, key)
				} else if value != "" {
					seen++
				}
				if value != "" && ok && found != value {
					v.untrue = append(v.untrue, fmt.Sprintf("%s: Match finds %.20q, Get %.20q", key, found, value))
				}
				switch own := value == "" || strings.HasPrefix(value, fmt.Sprint(w.number, ".")); {
				case w.isPossible(f, value):
				case lossy && own:
					v.lost++
				default:
					v.untrue = append(v.untrue, fmt.Sprintf("%s is %.20q, and may be %.20q", key, value, f.may))
				}
				if f.doubt {
					v.doubtful++
				}
				if f.doubt && value != f.may[0] {
					v.doubted++
				}
				f.isNow(value)
			}
		}
	}
	if keys < seen || counted < seen || counted > most {
		v.untrue = append(v.untrue, fmt.Sprintf("Match finds %d records, Match and Get %d, MatchKeys %d, Count %d",
			most, seen, keys, counted))
	}
	for key := range matched {
		v.untrue = append(v.untrue, key+" was never written, and Match finds it")
	}
	v.untrue, l.wrong = append(v.untrue, l.wrong...), nil
	return v
}

// isNow notes what the record was found to be. If it may expire any time, it
// may be gone the next moment.
func (f *fact) isNow(value string) {
	mayExpire := slices.Contains(f.may, "")
	if f.may, f.doubt = []string{value}, false; mayExpire && value != "" {
		f.may = append(f.may, "")
	}
}

// mustBeWhole fails the test for everything that must not be.
func (v verdict) mustBeWhole(t *testing.T) {
	t.Helper()
	for what, found := range map[string][]string{
		"breaks the invariant": v.breaches, "Get finds it, Match does not": v.hidden, "untrue": v.untrue,
	} {
		for _, one := range found[:min(len(found), 10)] {
			t.Errorf("%s: %s", what, one)
		}
		if len(found) > 10 {
			t.Errorf("%s: %d more", what, len(found)-10)
		}
	}
	if v.tool != 0 {
		t.Errorf("wildkey check reports %d breaches", v.tool)
	}
}

// judgeWhole is judge where nothing may be wrong.
func (l *load) judgeWhole(t *testing.T, client redis.UniversalClient) verdict {
	t.Helper()
	v := l.judge(t, client, false)
	v.mustBeWhole(t)
	return v
}

// mustDelete holds what DeleteMatch says and does against what judge has found.
// Then there is no record left.
func (l *load) mustDelete(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	cache, err := wildkey.New(client, l.loadOptions.cache)
	must(t, err)
	least, most := 0, 0
	for _, w := range l.workers {
		for _, f := range slices.Concat(w.users...) {
			if f.may[0] != "" {
				most++
			}
			if f.may[0] != "" && len(f.may) == 1 {
				least++
			}
		}
	}
	n, err := cache.DeleteMatch(ctx, everything)
	must(t, err)
	if most == 0 || n < least || n > most {
		t.Errorf("DeleteMatch of everything has deleted %d records, and Get found %d to %d", n, least, most)
	}
	l.forget()
	v := l.judgeWhole(t, client)
	if v.records > 0 {
		t.Errorf("after DeleteMatch of everything there are %d records", v.records)
	}
}

func (v verdict) breachCount() int { return len(v.breaches) + len(v.hidden) + len(v.untrue) }

func checkInvariant(client redis.UniversalClient) (invariant.Report, error) {
	switch client := client.(type) {
	case *redis.Client:
		return invariant.Check(ctx, client)
	case *redis.ClusterClient:
		return invariant.CheckCluster(ctx, client)
	}
	return invariant.Report{}, fmt.Errorf("no check for a %T", client)
}

// toolPath is the operators' tool, as TestMain has built it.
var toolPath string

// checkWithTool returns how many breaches wildkey check reports.
func checkWithTool(t *testing.T, client redis.UniversalClient, cache wildkey.Options) int {
	t.Helper()
	output, err := runTool(t, client, cache, "check", "--json")
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() != exitFindings {
		t.Fatalf("wildkey check: %v\n%s", err, ended.Stderr)
	} else if ended == nil {
		must(t, err)
	}
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	var summary struct{ Breaches *int }
	if err := json.Unmarshal(lines[len(lines)-1], &summary); err != nil || summary.Breaches == nil {
		t.Fatalf("wildkey check: no summary in %q", output)
	}
	return *summary.Breaches
}

// exitFindings is how wildkey check ends where it has found a breach.
const exitFindings = 4

// runTool runs the operators' tool for this namespace and returns what it prints.
func runTool(
	t *testing.T, client redis.UniversalClient, cache wildkey.Options, args ...string,
) (output []byte, err error) {
	t.Helper()
	addr := ""
	switch client := client.(type) {
	case *redis.Client:
		addr = client.Options().Addr
	case *redis.ClusterClient:
		master, err := client.MasterForKey(ctx, "any")
		must(t, err)
		addr = master.Options().Addr
	}
	args = append(args, "--url", "redis://"+addr, "--namespace", cache.Namespace)
	if cache.Shards > 1 {
		args = append(args, "--shards", strconv.Itoa(cache.Shards))
	}
	if cache.ShardSegments > 1 {
		args = append(args, "--shard-segments", strconv.Itoa(cache.ShardSegments))
	}
	return exec.Command(toolPath, args...).Output()
}

// eachServer is redisserver.Each, and then no goroutine may be left that was not
// there before: of clients, caches, Writers.
func eachServer(t *testing.T, test func(t *testing.T, server *redisserver.Server), args ...string) {
	t.Helper()
	leavesNoGoroutine(t)
	redisserver.Each(t, test, args...)
}

func leavesNoGoroutine(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	// Where its next toxic has closed a connection, toxiproxy may never end this one.
	proxy := goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*NoopToxic).Pipe")
	t.Cleanup(func() {
		err := goleak.Find(before, proxy)
		// A pool of go-redis that could not dial notices within a second that it is closed.
		for deadline := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(deadline); {
			err = goleak.Find(before, proxy)
		}
		must(t, err)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
