// Package differ gives the same commands to the engine of luatest and to a
// server, at the same millisecond, and tells where they differ: in a reply,
// byte for byte as it comes over the wire, or in what their keyspaces hold.
package differ

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/internal/resp"
	"github.com/wildkey/wildkey/luatest"
)

// Pair is an engine and a server that hold the same. It is for one goroutine.
type Pair struct {
	Engine  *luatest.Engine
	Program redisserver.Program // of the server

	client *redis.Client // of the server, for its dumps
	engine *resp.Conn
	server *resp.Conn
}

// NewPair returns an empty engine and the server, which is emptied. Closing the
// Pair ends its connections, not the server.
func NewPair(server *redisserver.Server) (*Pair, error) {
	engine := luatest.New()
	client := engine.Client()
	defer client.Close()
	toEngine, err := client.Options().Dialer(ctx, "", "")
	if err != nil {
		return nil, err
	}
	toServer, err := resp.Dial(server.Addr)
	if err != nil {
		return nil, err
	}
	p := &Pair{
		Engine: engine, Program: server.Program, client: redis.NewClient(&redis.Options{Addr: server.Addr}),
		engine: resp.New(toEngine), server: toServer,
	}
	return p, p.Reset()
}

// Close ends the engine and the connections.
func (p *Pair) Close() {
	p.server.Close()
	p.client.Close()
	p.Engine.Close()
}

// Reset empties both sides, of scripts too, and lifts the limit of memory.
func (p *Pair) Reset() error {
	for _, args := range [][]string{{"CONFIG", "SET", "maxmemory", "0"}, {"FLUSHALL"}, {"SCRIPT", "FLUSH"}} {
		if err := p.Same(args...); err != nil {
			return err
		}
	}
	return nil
}

// Now is the time of both sides: the engine's clock is set to the server's at
// each command.
func (p *Pair) Now() time.Time { return p.Engine.Now() }

// Same runs one command on both sides. The error says how the replies differ,
// in more than an order that Redis leaves open.
func (p *Pair) Same(args ...string) error {
	engine, server, err := p.Do(args...)
	if err == nil && engine != server && !(Unordered(args) && Sorted(engine) == Sorted(server)) {
		err = fmt.Errorf("%q\nengine %q\n%s %q", args, engine, p.Program, server)
	}
	return err
}

// Unordered reports whether Redis leaves open in which order a command replies
// with the members of a set.
func Unordered(args []string) bool {
	return slices.Contains([]string{"smembers", "sinter", "sunion", "sdiff", "sscan"}, strings.ToLower(args[0]))
}

// Sorted makes replies whose order Redis leaves open comparable.
func Sorted(reply string) string {
	items := strings.Split(reply, "\r\n")
	slices.Sort(items)
	return strings.Join(items, "\n")
}

// attempts and patience bound how often, and for how long, a command is begun
// anew because the millisecond changed under it. A busy machine may stall any
// command for some milliseconds, so that one such stall says nothing yet.
const (
	attempts = 100
	patience = 500 * time.Millisecond
)

var ctx = context.Background()

var askTime = []string{"TIME"}

// Do runs one command on both sides and returns the replies: the same, if they
// differ only in the words of their versions.
//
// The clock of a server cannot be set, but it can be read just before and just
// after a command: if the millisecond is the same, that is when the command
// ran, and the engine runs it then. If not, what the command did is undone and
// it is given again. One that always takes longer than a millisecond is run by
// the engine at the time when it last began: it must not depend on the clock.
func (p *Pair) Do(args ...string) (engine, server string, err error) {
	begun := time.Now()
	for attempt := 1; ; attempt++ {
		replies, err := p.server.Do(askTime, args, askTime)
		if err != nil {
			return "", "", err
		}
		before, after := milliseconds(replies[0]), milliseconds(replies[2])
		if before != after && attempt < attempts && (attempt < 3 || time.Since(begun) < patience) {
			if err := p.Align(); err != nil {
				return "", "", err
			}
			continue
		}
		p.Engine.SetNow(time.UnixMilli(before))
		answers, err := p.engine.Do(args)
		if err != nil {
			return "", "", err
		}
		return answers[0], asEngine(p.Program, answers[0], replies[1]), nil
	}
}

// Batch runs commands that have nothing to do with the time, in one round trip,
// and returns the replies as Do does.
func (p *Pair) Batch(commands ...[]string) (engine, server []string, err error) {
	if server, err = p.server.Do(commands...); err != nil {
		return nil, nil, err
	}
	if engine, err = p.engine.Do(commands...); err != nil {
		return nil, nil, err
	}
	for i := range server {
		server[i] = asEngine(p.Program, engine[i], server[i])
	}
	return engine, server, nil
}

// milliseconds reads a reply of TIME.
func milliseconds(reply string) int64 {
	var seconds, micros, skip int64
	fmt.Sscanf(reply, "*2\r\n$%d\r\n%d\r\n$%d\r\n%d\r\n", &skip, &seconds, &skip, &micros)
	return seconds*1000 + micros/1000
}

// Align makes the server hold what the engine holds. It waits for what is about
// to expire: a key lives through the millisecond of its expiry, in which there
// is no way to write it.
func (p *Pair) Align() error {
	soon := time.Now().Add(20 * time.Millisecond).UnixMilli()
	var until int64
	limit := p.Engine.Do("CONFIG", "GET", "maxmemory").([]any)[1].(string)
	commands := [][]string{{"CONFIG", "SET", "maxmemory", "0"}, {"FLUSHALL"}}
	for _, key := range texts(p.Engine.Do("KEYS", "*")) {
		expiry := p.Engine.Do("PEXPIRETIME", key).(int64)
		if 0 <= expiry && expiry < soon {
			until = max(until, expiry+1)
			continue
		}
		switch kind := p.Engine.Do("TYPE", key).(luatest.Status); kind {
		case "string":
			commands = append(commands, []string{"SET", key, p.Engine.Do("GET", key).(string)})
		case "hash":
			commands = append(commands, append([]string{"HSET", key}, texts(p.Engine.Do("HGETALL", key))...))
		case "list":
			commands = append(commands, append([]string{"RPUSH", key}, texts(p.Engine.Do("LRANGE", key, "0", "-1"))...))
		case "set":
			commands = append(commands, append([]string{"SADD", key}, texts(p.Engine.Do("SMEMBERS", key))...))
		case "stream":
			commands = append(commands, p.addStream(key)...)
		case "zset":
			add := []string{"ZADD", key}
			for pair := range slices.Chunk(texts(p.Engine.Do("ZRANGE", key, "0", "-1", "WITHSCORES")), 2) {
				add = append(add, pair[1], pair[0])
			}
			commands = append(commands, add)
		default:
			return fmt.Errorf("no way to write a %s", kind)
		}
		if expiry >= 0 {
			commands = append(commands, []string{"PEXPIREAT", key, strconv.FormatInt(expiry, 10)})
		}
	}
	replies, err := p.server.Do(append(commands, []string{"CONFIG", "SET", "maxmemory", limit})...)
	for i, reply := range replies {
		if strings.HasPrefix(reply, "-") {
			return fmt.Errorf("%q: %s", commands[i], reply)
		}
	}
	time.Sleep(time.Until(time.UnixMilli(until)))
	return err
}

// addStream returns the commands that write a stream. A last ID that no entry has
// is mostly that of one that is deleted: it is deleted again, in the same node.
func (p *Pair) addStream(key string) [][]string {
	// No command replies with the last ID.
	_, dumped, _ := strings.Cut("\n"+p.Engine.Dump(), fmt.Sprintf("\n%q stream last ", key))
	last, top := strings.Fields(dumped)[0], ""
	var commands [][]string
	for _, added := range p.Engine.Do("XRANGE", key, "-", "+").([]any) {
		pair := added.([]any)
		top = pair[0].(string)
		commands = append(commands, append([]string{"XADD", key, top}, texts(pair[1])...))
	}
	switch last {
	case top:
		return commands
	case "0-0": // which no entry can have, and no server goes back to after an XDEL
		return [][]string{{"XADD", key, "0-1", "", ""}, {"XTRIM", key, "MAXLEN", "0"}, {"XSETID", key, last}}
	}
	return append(commands, []string{"XADD", key, last, "", ""}, []string{"XDEL", key, last})
}

func texts(reply any) []string {
	var texts []string
	for _, item := range reply.([]any) {
		texts = append(texts, item.(string))
	}
	return texts
}

// readAll returns all that a server holds, but not when it expires: a number of
// Lua may have too few digits for that.
const readAll = `
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key).ok, {}
  if kind == 'string' then value = { redis.call('GET', key) } end
  if kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  if kind == 'hash' then value = redis.call('HGETALL', key) end
  if kind == 'list' then value = redis.call('LRANGE', key, 0, -1) end
  if kind == 'set' then value = redis.call('SMEMBERS', key) end
  if kind == 'stream' then
    value = { redis.call('XINFO', 'STREAM', key)[8] }
    for _, added in ipairs(redis.call('XRANGE', key, '-', '+')) do
      value[#value + 1] = added[1]
      value[#value + 1] = tostring(#added[2])
      for _, text in ipairs(added[2]) do value[#value + 1] = text end
    end
  end
  all[#all + 1] = { key, kind, value }
end
return all`

// SameKeyspace expects both sides to hold the same keys with the same types,
// values, members with scores, and expiries to the millisecond, as
// luatest.Engine.Dump writes them.
func (p *Pair) SameKeyspace() error {
	keys := texts(p.Engine.Do("KEYS", "*"))
	for range attempts {
		pipeline := p.client.Pipeline()
		before, read := pipeline.Time(ctx), pipeline.Eval(ctx, readAll, nil)
		left := map[string]*redis.Cmd{}
		for _, key := range keys {
			left[key] = pipeline.Do(ctx, "PTTL", key)
		}
		after := pipeline.Time(ctx)
		if _, err := pipeline.Exec(ctx); err != nil {
			return err
		}
		now := before.Val().UnixMilli()
		if now != after.Val().UnixMilli() {
			continue
		}
		p.Engine.SetNow(time.UnixMilli(now))
		expiry := func(key string) (int64, bool) {
			if left[key] == nil || left[key].Val().(int64) < 0 {
				return 0, false
			}
			return now + left[key].Val().(int64), true
		}
		if diff := cmp.Diff(p.Engine.Dump(), p.dump(read.Val().([]any), expiry)); diff != "" {
			return fmt.Errorf("keyspaces differ (-engine +%s)\n%s", p.Program, diff)
		}
		return nil
	}
	return fmt.Errorf("the keyspace was never read within a millisecond, %d times", attempts)
}

// dump writes what readAll has read as Engine.Dump does.
func (p *Pair) dump(all []any, expiry func(key string) (int64, bool)) string {
	keyOf := func(item any) string { return item.([]any)[0].(string) }
	slices.SortFunc(all, func(a, b any) int { return strings.Compare(keyOf(a), keyOf(b)) })
	var b strings.Builder
	for _, item := range all {
		key, kind, value := keyOf(item), item.([]any)[1], texts(item.([]any)[2])
		if kind == "none" {
			continue // expired since KEYS
		}
		fmt.Fprintf(&b, "%q %s", key, kind)
		pairs := slices.Collect(slices.Chunk(value, 2))
		switch kind {
		case "string":
			fmt.Fprintf(&b, " %q", value[0])
		case "zset":
			for _, pair := range pairs {
				fmt.Fprintf(&b, " %s %q", scoreOf70(p.Program, pair[1]), pair[0])
			}
		case "hash":
			slices.SortFunc(pairs, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
			for _, pair := range pairs {
				fmt.Fprintf(&b, " %q %q", pair[0], pair[1])
			}
		case "list", "set":
			if kind == "set" {
				slices.Sort(value)
			}
			for _, text := range value {
				fmt.Fprintf(&b, " %q", text)
			}
		case "stream":
			fmt.Fprintf(&b, " last %s", value[0])
			for value = value[1:]; len(value) > 0; {
				count, _ := strconv.Atoi(value[1])
				fmt.Fprintf(&b, " %s", value[0])
				for _, text := range value[2 : 2+count] {
					fmt.Fprintf(&b, " %q", text)
				}
				value = value[2+count:]
			}
		}
		if at, expires := expiry(key); expires {
			fmt.Fprintf(&b, " expires %d", at)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
