package luatest

import (
	"slices"
	"strings"
)

// flags say what a command does, as the gate before it needs to know: Redis's
// own flags, as COMMAND INFO lists them, and those of its keys.
type flags uint16

const (
	write     flags = 1 << iota // may change the keyspace
	readOnly                    // reads the keyspace
	denyOOM                     // refused when memory is full
	noScript                    // refused in scripts
	admin                       // for those who run the server
	fast                        // of constant or logarithmic time
	noAuth                      // allowed to every user
	dangerous                   // in the ACL category of that name, admin apart
	reads                       // shows what its keys hold
	updates                     // changes its keys, or may, without being a write itself
	blocking                    // may keep a client waiting
	pubSub                      // sends messages or receives them
)

// command is one entry of the command table.
type command struct {
	name string
	// arity is the number of arguments, the name included; -n means n or more.
	arity int
	flags flags
	// category is the ACL category that does not follow from the flags, "" for none.
	category string
	// firstKey and lastKey are the positions of the keys, counted from the end
	// when negative; every keyStep-th argument between them is one. With
	// firstKey 0 there are none.
	firstKey, lastKey, keyStep int
	// keyCount is the position of the argument that says how many keys follow it.
	// A firstKey beside it is one more key, before those.
	keyCount int
	// keysAfter is the word after which come as many keys as further arguments.
	keysAfter string
	// perKey is what each key must permit where that differs: the last one goes
	// for all further keys too. Without it the flags say it for all keys.
	perKey []permission
	// needs, where not nil, is what these arguments make the keys have to permit.
	needs func(args []string) permission
	// channels is true when what stands where keys do are channels.
	channels    bool
	subcommands map[string]*command
	run         func(e *Engine, args []string) any
}

// keysOf returns the arguments that are keys: none when there are too few
// arguments for the positions.
func (c *command) keysOf(args []string) []string {
	if c.channels {
		return nil
	}
	var keys []string
	first, last, step := c.firstKey, c.lastKey, c.keyStep
	if c.keyCount > 0 {
		if len(args) <= c.keyCount {
			return nil
		}
		n, ok := parseInt(args[c.keyCount])
		if !ok || n < 1 || n > int64(len(args)-c.keyCount-1) {
			return nil
		}
		if first > 0 {
			keys = append(keys, args[first])
		}
		first, last, step = c.keyCount+1, c.keyCount+int(n), 1
	}
	if c.keysAfter != "" {
		// The word is not looked for in the last place, where nothing can follow it.
		first = 1 + slices.IndexFunc(args[:len(args)-1], func(arg string) bool { return strings.EqualFold(arg, c.keysAfter) })
		last, step = first+(len(args)-first)/2-1, 1
	}
	if last < 0 {
		last += len(args)
	}
	if first == 0 || last >= len(args) {
		return nil
	}
	for i := first; i <= last; i += step {
		keys = append(keys, args[i])
	}
	if len(keys) < len(c.perKey) {
		return nil
	}
	return keys
}

// permission is what the command's key at a position among its keys must permit
// when it has these arguments.
func (c *command) permission(args []string, position int) permission {
	if c.perKey != nil {
		return c.perKey[min(position, len(c.perKey)-1)]
	}
	if c.needs != nil {
		return c.needs(args)
	}
	var needed permission
	if c.flags&reads != 0 {
		needed |= mayRead
	}
	if c.flags&(write|updates) != 0 {
		needed |= mayWrite
	}
	return needed
}

// inCategory reports whether the command is in an ACL category.
func (c *command) inCategory(category string) bool {
	switch category {
	case "write":
		return c.flags&write != 0
	case "read":
		return c.flags&readOnly != 0 && c.category != "scripting"
	case "admin":
		return c.flags&admin != 0
	case "dangerous":
		return c.flags&(dangerous|admin) != 0
	case "fast":
		return c.flags&fast != 0
	case "slow":
		return c.flags&fast == 0
	case "blocking":
		return c.flags&blocking != 0
	}
	return c.category == category
}

// commands is the command table, by lower-case name.
var commands map[string]*command

// The table is filled here, not where it is declared, because the commands
// that run scripts look commands up in it.
func init() {
	commands = map[string]*command{}
	for _, group := range []struct {
		category string
		commands []*command
	}{
		{"", serverCommands}, {"connection", connectionCommands}, {"scripting", scriptCommands}, {"keyspace", keyCommands},
		{"string", stringCommands}, {"bitmap", bitCommands}, {"pubsub", pubSubCommands}, {"transaction", transactionCommands},
		{"sortedset", zsetCommands}, {"sortedset", zpopCommands}, {"sortedset", zstoreCommands}, {"hash", hashCommands},
		{"list", listCommands}, {"set", setCommands}, {"stream", streamCommands},
	} {
		for _, c := range group.commands {
			commands[c.name] = c
			if c.run != nil {
				c.category = group.category
			}
			for _, sub := range c.subcommands {
				sub.category = group.category
			}
		}
	}
}

// oneKey describes a command whose first argument is its only key.
func oneKey(name string, arity int, flags flags, run func(*Engine, []string) any) *command {
	return &command{name: name, arity: arity, flags: flags, firstKey: 1, lastKey: 1, keyStep: 1, run: run}
}

// manyKeys describes a command all of whose arguments are keys.
func manyKeys(name string, arity int, flags flags, run func(*Engine, []string) any) *command {
	return &command{name: name, arity: arity, flags: flags, firstKey: 1, lastKey: -1, keyStep: 1, run: run}
}

// moves describes a command that moves what its first key holds to its second.
func moves(name string, arity int, flags flags, run func(*Engine, []string) any) *command {
	return &command{
		name: name, arity: arity, flags: flags, firstKey: 1, lastKey: 2, keyStep: 1, run: run,
		perKey: []permission{mayRead | mayWrite, mayWrite},
	}
}

// stores describes a command that stores under its first key what it makes of
// the others, which are all further arguments.
func stores(name string, arity int, flags flags, run func(*Engine, []string) any) *command {
	return &command{
		name: name, arity: arity, flags: flags, firstKey: 1, lastKey: -1, keyStep: 1, run: run,
		perKey: []permission{mayWrite, mayRead},
	}
}

// noKey describes a command without keys.
func noKey(name string, arity int, flags flags, run func(*Engine, []string) any) *command {
	return &command{name: name, arity: arity, flags: flags, run: run}
}

// container describes a command that is a family of subcommands.
func container(name string, subcommands map[string]*command) *command {
	for sub, c := range subcommands {
		c.name = name + "|" + sub
	}
	return &command{name: name, arity: -2, subcommands: subcommands}
}
