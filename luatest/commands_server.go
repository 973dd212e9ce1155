package luatest

import (
	"strconv"
	"strings"
)

var serverCommands = []*command{
	noKey("time", 1, fast, cmdTime),
	noKey("info", -1, dangerous, cmdInfo),
	memoryCommand,
	container("cluster", map[string]*command{
		"keyslot": noKey("", 3, 0, func(_ *Engine, args []string) any { return int64(Slot(args[2])) }),
	}),
	container("config", map[string]*command{
		"get": noKey("", -3, admin|noScript, cmdConfigGet),
		"set": noKey("", -4, admin|noScript, cmdConfigSet),
	}),
}

// Nobody can subscribe to the engine, so that nobody receives what is published.
var pubSubCommands = []*command{
	noKey("publish", 3, pubSub|fast, func(*Engine, []string) any { return int64(0) }),
	{
		name: "spublish", arity: 3, flags: pubSub | fast, firstKey: 1, lastKey: 1, keyStep: 1, channels: true,
		run: func(*Engine, []string) any { return int64(0) },
	},
}

var connectionCommands = []*command{
	describeCommands,
	noKey("ping", -1, fast, cmdPing),
	noKey("echo", 2, fast, func(_ *Engine, args []string) any { return args[1] }),
	noKey("select", 2, fast, cmdSelect),
	noKey("hello", -1, noScript|fast|noAuth, cmdHello),
	noKey("auth", -2, noScript|fast|noAuth, cmdAuth),
	container("client", map[string]*command{
		"setname": noKey("", 3, noScript, func(*Engine, []string) any { return Status("OK") }),
		"id":      noKey("", 2, noScript, func(*Engine, []string) any { return int64(1) }),
	}),
}

func cmdPing(_ *Engine, args []string) any {
	switch len(args) {
	case 1:
		return Status("PONG")
	case 2:
		return args[1]
	}
	return wrongArity("ping")
}

func cmdTime(e *Engine, _ []string) any {
	now := e.keys.now
	return []any{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000)}
}

func cmdFlush(e *Engine, args []string) any {
	if len(args) > 2 || len(args) == 2 && !strings.EqualFold(args[1], "sync") && !strings.EqualFold(args[1], "async") {
		return errSyntax
	}
	e.keys.flush()
	return Status("OK")
}

func cmdSelect(e *Engine, args []string) any {
	db, ok := parseInt(args[1])
	switch {
	case !ok:
		return errNotInt
	case db != 0 && e.gate.cluster:
		return Error("ERR SELECT is not allowed in cluster mode")
	case db != 0:
		return Error("ERR DB index is out of range")
	}
	return Status("OK")
}

// cmdHello answers a client that asks which protocol is spoken: RESP2 only.
func cmdHello(e *Engine, args []string) any {
	if len(args) > 1 {
		version, ok := parseInt(args[1])
		switch {
		case !ok:
			return Error("ERR Protocol version is not an integer or out of range")
		case version != 2:
			return Error("NOPROTO unsupported protocol version")
		}
		if invalid := e.helloOptions(args[2:]); invalid != "" {
			return invalid
		}
	}
	mode, role := "standalone", "master"
	if e.gate.cluster {
		mode = "cluster"
	}
	if e.gate.replica {
		role = "replica"
	}
	return []any{
		"server", "redis", "version", redisVersion, "proto", int64(2), "id", int64(1),
		"mode", mode, "role", role, "modules", []any{},
	}
}

// helloOptions does what a client asks for together with HELLO.
func (e *Engine) helloOptions(options []string) Error {
	for len(options) > 0 {
		switch {
		case strings.EqualFold(options[0], "auth") && len(options) > 2:
			if refused, failed := cmdAuth(e, options[:3]).(Error); failed {
				return refused
			}
			options = options[3:]
		case strings.EqualFold(options[0], "setname") && len(options) > 1:
			options = options[2:]
		default:
			return Error(oneLine("ERR Syntax error in HELLO option '" + options[0] + "'"))
		}
	}
	return ""
}

// cmdAuth knows the user default, who needs no password.
func cmdAuth(_ *Engine, args []string) any {
	switch {
	case len(args) > 3:
		return errSyntax
	case len(args) == 2:
		return Error("ERR AUTH <password> called without any password configured for the default user. " +
			"Are you sure your configuration is correct?")
	case args[1] != "default":
		return Error("WRONGPASS invalid username-password pair or user is disabled.")
	}
	return Status("OK")
}

func cmdConfigGet(e *Engine, args []string) any {
	for _, pattern := range args[2:] {
		if globMatch(strings.ToLower(pattern), "maxmemory") {
			return []any{"maxmemory", strconv.FormatInt(e.maxMemory, 10)}
		}
	}
	return []any{}
}

// cmdConfigSet knows maxmemory, of which any limit is one that used memory has
// passed.
func cmdConfigSet(e *Engine, args []string) any {
	if len(args)%2 != 0 {
		return errSyntax
	}
	for i := 2; i < len(args); i += 2 {
		if !strings.EqualFold(args[i], "maxmemory") {
			return Error(oneLine("ERR Unknown option or number of arguments for CONFIG SET - '" + args[i] + "'"))
		}
		limit, ok := parseMemory(args[i+1])
		if !ok {
			return Error("ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value")
		}
		e.maxMemory, e.gate.memoryFull = limit, limit > 0
	}
	return Status("OK")
}

// parseMemory reads a number of bytes with one of Redis's units.
func parseMemory(s string) (int64, bool) {
	digits := strings.TrimRight(s, "bBkKmMgG")
	unit, ok := map[string]int64{
		"": 1, "b": 1, "k": 1e3, "kb": 1 << 10, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30,
	}[strings.ToLower(s[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 64)
	return n * unit, ok && err == nil && n >= 0
}
