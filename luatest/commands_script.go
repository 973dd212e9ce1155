package luatest

import (
	"crypto/sha1"
	"encoding/hex"
	"slices"
	"strings"
)

var scriptCommands = []*command{
	runsScript("eval", noScript|reads|updates, func(e *Engine, args []string) any { return e.eval(args, false) }),
	runsScript("eval_ro", readOnly|noScript|reads, func(e *Engine, args []string) any { return e.eval(args, true) }),
	runsScript("evalsha", noScript|reads|updates, func(e *Engine, args []string) any { return e.evalsha(args, false) }),
	runsScript("evalsha_ro", readOnly|noScript|reads, func(e *Engine, args []string) any { return e.evalsha(args, true) }),
	container("script", map[string]*command{
		"load":   noKey("", 3, noScript, cmdScriptLoad),
		"exists": noKey("", -3, noScript, cmdScriptExists),
		"flush":  noKey("", -2, noScript, cmdScriptFlush),
	}),
}

// runsScript describes a command that is given a script, a number of keys, and them.
func runsScript(name string, flags flags, run func(*Engine, []string) any) *command {
	return &command{name: name, arity: -3, flags: flags, keyCount: 2, run: run}
}

func digestOf(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}

// load compiles source, unless it has been before.
func (e *Engine) load(source string) (*script, Error) {
	digest := digestOf(source)
	if s := e.scripts[digest]; s != nil {
		return s, ""
	}
	s, invalid := compile(digest, source)
	if invalid != "" {
		return nil, invalid
	}
	e.scripts[digest] = s
	return s, ""
}

// splitKeys parts what follows a script into KEYS and ARGV.
func splitKeys(args []string) (keys, argv []string, _ Error) {
	n, ok := parseInt(args[2])
	rest := args[3:]
	switch {
	case !ok:
		return nil, nil, errNotInt
	case n > int64(len(rest)):
		return nil, nil, "ERR Number of keys can't be greater than number of args"
	case n < 0:
		return nil, nil, "ERR Number of keys can't be negative"
	}
	return rest[:n], rest[n:], ""
}

func (e *Engine) eval(args []string, readOnly bool) any {
	keys, argv, invalid := splitKeys(args)
	if invalid != "" {
		return invalid
	}
	s, invalid := e.load(args[1])
	if invalid != "" {
		return invalid
	}
	return e.run(s, keys, argv, readOnly)
}

func (e *Engine) evalsha(args []string, readOnly bool) any {
	// A digest of the wrong length is refused before the number of keys is read.
	const noSuchScript Error = "NOSCRIPT No matching script. Please use EVAL."
	if len(args[1]) != 2*sha1.Size {
		return noSuchScript
	}
	keys, argv, invalid := splitKeys(args)
	if invalid != "" {
		return invalid
	}
	s := e.scripts[strings.ToLower(args[1])]
	if s == nil {
		return noSuchScript
	}
	return e.run(s, keys, argv, readOnly)
}

func (e *Engine) run(s *script, keys, argv []string, readOnly bool) any {
	if e.sandbox == nil {
		e.sandbox = newSandbox(e)
	}
	s, invalid := e.prepared(s)
	if invalid != "" {
		return invalid
	}
	return e.sandbox.run(s, keys, argv, readOnly)
}

func cmdScriptLoad(e *Engine, args []string) any {
	s, invalid := e.load(args[2])
	if invalid != "" {
		return invalid
	}
	return s.digest
}

func cmdScriptExists(e *Engine, args []string) any {
	found := make([]any, 0, len(args)-2)
	for _, digest := range args[2:] {
		if e.scripts[strings.ToLower(digest)] != nil {
			found = append(found, int64(1))
		} else {
			found = append(found, int64(0))
		}
	}
	return found
}

func cmdScriptFlush(e *Engine, args []string) any {
	if len(args) > 3 || len(args) == 3 && !slices.Contains([]string{"sync", "async"}, strings.ToLower(args[2])) {
		return Error("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
	}
	clear(e.scripts)
	e.sandbox = nil // with the settings and the random numbers of the scripts so far
	return Status("OK")
}
