package luatest

import "strconv"

// flags say what a command does, as the gate before it needs to know.
type flags uint8

const (
	write    flags = 1 << iota // may change the keyspace
	denyOOM                    // refused when memory is full
	noScript                   // refused in scripts
)

// command is one entry of the command table.
type command struct {
	name string
	// arity is the number of arguments, the name included; -n means n or more.
	arity int
	flags flags
	// firstKey and lastKey are the positions of the keys, counted from the end
	// when negative; every keyStep-th argument between them is one. With
	// firstKey 0 there are none.
	firstKey, lastKey, keyStep int
	// keyCount is the position of the argument that says how many keys follow it.
	keyCount    int
	subcommands map[string]*command
	run         func(e *Engine, args []string) any
}

func (c *command) keysOf(args []string) []string {
	first, last, step := c.firstKey, c.lastKey, c.keyStep
	if c.keyCount > 0 {
		n, err := strconv.Atoi(args[c.keyCount])
		if err != nil || n < 0 || n > len(args)-c.keyCount-1 {
			return nil
		}
		first, last, step = c.keyCount+1, c.keyCount+n, 1
	}
	if first == 0 {
		return nil
	}
	if last < 0 {
		last += len(args)
	}
	var keys []string
	for i := first; i <= last; i += step {
		keys = append(keys, args[i])
	}
	return keys
}

// commands is the command table, by lower-case name.
var commands map[string]*command

// The table is filled here, not where it is declared, because the commands
// that run scripts look commands up in it.
func init() {
	commands = map[string]*command{}
	for _, group := range [][]*command{serverCommands, keyCommands, stringCommands, zsetCommands, hashCommands, scriptCommands} {
		for _, c := range group {
			commands[c.name] = c
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
