package luatest

import "strings"

// ofKey describes a subcommand whose argument, or first argument, is its only key.
func ofKey(arity int, flags flags, run func(*Engine, []string) any) *command {
	return &command{arity: arity, flags: flags, firstKey: 2, lastKey: 2, keyStep: 1, run: run}
}

var objectCommand = container("object", map[string]*command{
	"encoding": ofKey(3, readOnly, cmdObjectEncoding),
	"freq":     ofKey(3, readOnly, cmdObjectFreq),
})

var memoryCommand = container("memory", map[string]*command{
	"usage": ofKey(-3, readOnly, cmdMemoryUsage),
})

func cmdObjectEncoding(e *Engine, args []string) any {
	entry := e.keys.find(args[2])
	if entry == nil {
		return nil
	}
	switch entry.kind {
	case stringKind:
		return entry.encoding
	case hashKind:
		if !entry.hash.large {
			return "listpack"
		}
		return "hashtable"
	case zsetKind:
		if !entry.zset.large {
			return "listpack"
		}
		return "skiplist"
	case listKind:
		return "quicklist"
	case streamKind:
		return "stream"
	}
	if !entry.set.large {
		return "intset"
	}
	return "hashtable"
}

func cmdObjectFreq(e *Engine, args []string) any {
	if e.keys.find(args[2]) == nil {
		return nil
	}
	return Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. " +
		"Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
}

func cmdMemoryUsage(e *Engine, args []string) any {
	for options := args[3:]; len(options) > 0; options = options[2:] {
		if len(options) < 2 || !strings.EqualFold(options[0], "SAMPLES") {
			return errSyntax
		}
		samples, ok := parseInt(options[1])
		switch {
		case !ok:
			return errNotInt
		case samples < 0:
			return errSyntax
		}
	}
	entry := e.keys.find(args[2])
	if entry == nil {
		return nil
	}
	alone := newKeyspace(e.keys.now)
	alone.keys.set(args[2], entry)
	return alone.estimate()
}

// estimate guesses the bytes that a server would need for the keyspace: those of
// the keys and values written down, and some for each key.
func (k *keyspace) estimate() int64 {
	const perKey = 64
	return int64(len(k.dump()) + perKey*k.keys.len())
}
