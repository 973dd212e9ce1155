package scripts

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
)

var usersToTry = flag.Int("acl-users", 150, "how many random ACL users TestNoHalfUnderACL tries")

// TestNoHalfUnderACL draws users with several key patterns, with rules for a first
// argument, and with selectors. Whatever such a user may do, a call of put.lua or
// delete.lua does what it does for any user, or nothing.
func TestNoHalfUnderACL(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		if b.LacksReadOnlyScripts() {
			t.Skip("Redis 6.2 cannot be asked what a user may do")
		}
		put, remove := corpus.Load(t, b.Client, "put"), corpus.Load(t, b.Client, "delete")
		seed := uint64(time.Now().UnixNano())
		refused, done := 0, 0
		for n := range uint64(*usersToTry) {
			h := &halves{Rand: rand.New(rand.NewPCG(seed+n, 0)), t: t, b: b, put: put, remove: remove}
			permissions, full := h.permissions()
			client := user(t, b, "app", permissions...)
			for range 8 {
				call := h.call()
				h.prepare()
				backend.Must(t, b.Client.Do(ctx, call...).Err())
				whole := h.state()
				h.prepare()
				before := h.state()
				err := client.Do(ctx, call...).Err()
				after, want := h.state(), whole
				if err != nil {
					want = before
					refused++
				} else {
					done++
				}
				if after != want || err != nil && full {
					t.Errorf("%v\nof %v:\n%v\nbefore %s\nafter  %s\nwant   %s", call, permissions, err, before, after, want)
				}
			}
			client.Close()
			if t.Failed() {
				t.Fatalf("seed %d", seed+n)
			}
		}
		if refused < *usersToTry || done < *usersToTry {
			t.Errorf("of %d users %d calls were refused, and %d done", *usersToTry, refused, done)
		}
	})
}

// halves draws users and calls.
type halves struct {
	*rand.Rand
	t           *testing.T
	b           *backend.Backend
	put, remove string // digests
}

func (h *halves) pick(from ...string) string { return from[h.IntN(len(from))] }

// permissions draws a user who may call the scripts, and says whether it may write
// all records.
func (h *halves) permissions() (list []string, full bool) {
	if h.IntN(8) == 0 {
		return []string{h.pick("~*", "~{t}*", "allkeys"), "+@all"}, true
	}
	keys := func() string {
		return h.pick("~{t}:*", "~{t}:user:*", "~{t}:user:1", "~{t}:*:1", "~{t}:[a-u]*", "~{t}:[^a]*", "~{t}:user:?",
			"%R~{t}:*", "%W~{t}:user:*", "%W~{t}:*", "~{t}:admin:*", "~{t}:!user:*")
	}
	command := func() string {
		return h.pick("set", "unlink", "zrem", "zadd", "persist", "pexpire", "exists", "get", "zcard")
	}
	list = []string{h.pick("~{t}*", "~{t}/keys"), "+@all"}
	for range h.IntN(3) {
		list = append(list, keys())
	}
	for range h.IntN(3) {
		name := command()
		list = append(list, "-"+name)
		switch h.IntN(4) {
		case 0:
			list = append(list, "+"+name+"|"+h.pick("{t}:user:1", "{t}/keys", "{t}:admin:1"))
		case 1:
			list = append(list, "(+"+name+" "+keys()+")")
		case 2:
			list = append(list, "(+"+name+" ~{t}/keys "+keys()+")")
		}
	}
	if h.IntN(3) == 0 {
		list = append(list, "(+@all ~{t}/keys "+keys()+")")
	}
	return list, false
}

// call draws a call of put.lua or delete.lua.
func (h *halves) call() []any {
	names := []string{"user:1", "user:2", "user:3", "admin:1", "admin:2", "z", "!user:1", "!admin:1"}
	h.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:1+h.IntN(4)]
	digest, args := h.put, []any{}
	for range names {
		action := h.pick("never", "7200000", "keep", "touch never", "touch 7200000", "delete", "check")
		condition, value := h.pick("*", "*", "*", "+", "-"), ""
		if !strings.Contains("touch never touch 7200000 delete check", action) || action == "never" || action == "7200000" {
			value = h.pick("new", "newer")
		}
		args = append(args, action, condition, value)
	}
	if h.IntN(4) == 0 {
		digest, args = h.remove, []any{h.pick("count", "values")}
	}
	call := []any{"EVALSHA", digest, 1 + len(names), "{t}/keys"}
	for _, name := range names {
		call = append(call, "{t}:"+name)
	}
	return append(call, args...)
}

// prepare leaves four live records, and the lease of one.
func (h *halves) prepare() {
	h.t.Helper()
	_, err := h.b.Client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.FlushDB(ctx)
		for _, name := range []string{"user:1", "user:2", "admin:1", "z", "!user:1"} {
			pipe.Set(ctx, "{t}:"+name, "old", time.Hour)
			pipe.ZAdd(ctx, "{t}/keys", redis.Z{Member: name})
		}
		return nil
	})
	backend.Must(h.t, err)
}

// state is all that there is, as text; times to live in hours.
func (h *halves) state() string {
	h.t.Helper()
	names := h.b.Client.Keys(ctx, "*").Val()
	slices.Sort(names)
	lines := []string{}
	for _, name := range names {
		if strings.HasSuffix(name, "/keys") {
			lines = append(lines, fmt.Sprint(h.b.Client.ZRange(ctx, name, 0, -1).Val()))
			continue
		}
		left := h.b.Client.PTTL(ctx, name).Val()
		lines = append(lines, fmt.Sprint(name, "=", h.b.Client.Get(ctx, name).Val(), " ", left.Round(time.Hour)))
	}
	return strings.Join(lines, ", ")
}

// TestNoHalfOfADeleteWithLeases: delete.lua calls UNLINK for the records and for the
// leases, and the user may not delete the leases: by their names, or by a rule that
// looks at a call's first argument alone.
func TestNoHalfOfADeleteWithLeases(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		if b.LacksReadOnlyScripts() {
			t.Skip("Redis 6.2 cannot be asked what a user may do")
		}
		h := &halves{t: t, b: b}
		h.prepare()
		before := h.state()
		for _, rule := range []string{"(+unlink ~{t}:user:*)", "+unlink|{t}:user:1"} {
			client := user(t, b, "app", "~{t}*", "+@all", "-unlink", rule)
			call := []any{"EVALSHA", corpus.Load(t, b.Client, "delete"), 3, "{t}/keys", "{t}:user:1", "{t}:!user:1", "count"}
			if err := client.Do(ctx, call...).Err(); !redis.HasErrorPrefix(err, "NOPERM delete: the user may not call UNLINK") {
				t.Errorf("the delete of a user with %s: %v", rule, err)
			}
			if after := h.state(); after != before {
				t.Errorf("before %s\nafter  %s", before, after)
			}
			client.Close()
		}
	})
}

// TestNoHalfOfALargeDelete: delete.lua calls UNLINK for a thousand records at a
// time, and the user may not delete the last of them.
func TestNoHalfOfALargeDelete(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		if b.LacksReadOnlyScripts() {
			t.Skip("Redis 6.2 cannot be asked what a user may do")
		}
		const n = 2_500
		call := []any{"EVALSHA", corpus.Load(t, b.Client, "delete"), 1 + n, "{t}/keys"}
		for i := range n {
			name := fmt.Sprintf("user:%04d", i)
			if i == n-1 {
				name = "admin"
			}
			backend.Must(t, b.Client.Set(ctx, "{t}:"+name, "v", 0).Err())
			backend.Must(t, b.Client.ZAdd(ctx, "{t}/keys", redis.Z{Member: name}).Err())
			call = append(call, "{t}:"+name)
		}
		call = append(call, "count")
		client := user(t, b, "app", "~{t}*", "+@all", "-unlink", "(+unlink ~{t}:user:*)")
		if err := client.Do(ctx, call...).Err(); !redis.HasErrorPrefix(err, "NOPERM delete: the user may not call UNLINK") {
			t.Errorf("the delete: %v", err)
		}
		if live, entries := b.Client.DBSize(ctx).Val()-1, b.Client.ZCard(ctx, "{t}/keys").Val(); live != n || entries != n {
			t.Errorf("%d records and %d entries are left of %d", live, entries, n)
		}
	})
}
