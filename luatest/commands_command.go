package luatest

import (
	"maps"
	"slices"
	"strings"
)

// describeCommands is COMMAND, which is a command by itself as well as a family.
var describeCommands = func() *command {
	c := container("command", map[string]*command{
		"count":   noKey("", 2, 0, func(*Engine, []string) any { return int64(len(commands)) }),
		"info":    noKey("", -2, 0, cmdCommandInfo),
		"docs":    noKey("", -2, 0, func(*Engine, []string) any { return []any{} }),
		"list":    noKey("", -2, 0, cmdCommandList),
		"getkeys": noKey("", -4, 0, cmdCommandGetKeys),
	})
	c.arity, c.run = -1, cmdCommand
	return c
}()

func cmdCommand(*Engine, []string) any {
	all := make([]any, 0, len(commands))
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		all = append(all, commands[name].info())
	}
	return all
}

func cmdCommandInfo(e *Engine, args []string) any {
	if len(args) == 2 {
		return cmdCommand(e, args)
	}
	infos := make([]any, 0, len(args)-2)
	for _, name := range args[2:] {
		container, sub, isSub := strings.Cut(strings.ToLower(name), "|")
		c := commands[container]
		if c != nil && isSub {
			c = c.subcommands[sub]
		}
		if c == nil {
			infos = append(infos, nil)
		} else {
			infos = append(infos, c.info())
		}
	}
	return infos
}

// flagNames are the flags of Redis, in its order.
var flagNames = []struct {
	flag flags
	name Status
}{
	{write, "write"}, {readOnly, "readonly"}, {denyOOM, "denyoom"}, {admin, "admin"}, {pubSub, "pubsub"},
	{noScript, "noscript"}, {blocking, "blocking"}, {fast, "fast"}, {noAuth, "no_auth"},
}

// info is what COMMAND INFO says, with neither the tips nor the specifications
// of keys that it has on a server.
func (c *command) info() []any {
	names := []any{}
	for _, f := range flagNames {
		if c.flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	if c.keyCount > 0 || c.keysAfter != "" {
		names = append(names, Status("movablekeys"))
	}
	categories := []any{}
	for _, category := range aclCategories {
		if c.inCategory(category) {
			categories = append(categories, Status("@"+category))
		}
	}
	subs := []any{}
	for _, name := range slices.Sorted(maps.Keys(c.subcommands)) {
		subs = append(subs, c.subcommands[name].info())
	}
	return []any{
		c.name, int64(c.arity), names, int64(c.firstKey), int64(c.lastKey), int64(c.keyStep), categories,
		[]any{}, []any{}, subs,
	}
}

func cmdCommandList(_ *Engine, args []string) any {
	matches := func(*command) bool { return true }
	if len(args) > 2 {
		if len(args) != 5 || !strings.EqualFold(args[2], "FILTERBY") {
			return errSyntax
		}
		by := strings.ToLower(args[4])
		switch strings.ToUpper(args[3]) {
		case "MODULE":
			matches = func(*command) bool { return false }
		case "ACLCAT":
			matches = func(c *command) bool { return slices.Contains(aclCategories, by) && c.inCategory(by) }
		case "PATTERN":
			matches = func(c *command) bool { return globMatch(by, c.name) }
		default:
			return errSyntax
		}
	}
	names := []any{}
	add := func(c *command) {
		if matches(c) {
			names = append(names, c.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		add(commands[name])
		for _, sub := range slices.Sorted(maps.Keys(commands[name].subcommands)) {
			add(commands[name].subcommands[sub])
		}
	}
	return names
}

func cmdCommandGetKeys(_ *Engine, args []string) any {
	asked := args[2:]
	c, invalid := lookup(asked)
	if c == nil {
		if refused := notModelled(asked); refused != "" {
			return refused
		}
		return Error("ERR Invalid command specified")
	}
	switch {
	case c.firstKey == 0 && c.keyCount == 0 || c.channels:
		return Error("ERR The command has no key arguments")
	case invalid != "":
		return Error("ERR Invalid number of arguments specified for command")
	}
	keys := []any{}
	for _, key := range c.keysOf(asked) {
		keys = append(keys, key)
	}
	if len(keys) == 0 && c.category != "scripting" { // a script may have none
		return Error("ERR Invalid arguments specified for command")
	}
	return keys
}
