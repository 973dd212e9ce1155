package luatest

import (
	"fmt"
	"slices"
	"strings"
)

// permission is what a user may do with keys, or a command needs to.
type permission uint8

const (
	mayRead permission = 1 << iota
	mayWrite
)

// user is what Redis's ACL lets someone do.
type user struct {
	commands map[*command]bool
	allKeys  bool
	patterns []keyPattern
}

type keyPattern struct {
	glob    string
	permits permission
}

// verdict is what the ACL says to a command.
type verdict int

const (
	allowed verdict = iota
	deniedCommand
	deniedKey
)

// check says whether the user may run cmd with these arguments. The command is
// looked at first, then its keys. A nil user may do everything.
func (u *user) check(cmd *command, args []string) verdict {
	if u == nil {
		return allowed
	}
	if cmd.flags&noAuth == 0 && !u.commands[cmd] {
		return deniedCommand
	}
	if u.allKeys {
		return allowed
	}
	for position, key := range cmd.keysOf(args) {
		needed := cmd.permission(args, position)
		if !slices.ContainsFunc(u.patterns, func(p keyPattern) bool {
			return p.permits&needed == needed && globMatch(p.glob, key)
		}) {
			return deniedKey
		}
	}
	return allowed
}

// newUser makes a user by ACL rules; a later rule overrides an earlier one.
func newUser(rules string) (*user, error) {
	u := &user{commands: map[*command]bool{}}
	for _, rule := range strings.Fields(rules) {
		if problem := u.apply(rule); problem != "" {
			return nil, fmt.Errorf("luatest: ACL rule %q: %s", rule, problem)
		}
	}
	return u, nil
}

// Redis's words for what can be wrong with a rule.
const (
	aclSyntax   = "Syntax error"
	aclUnknown  = "Unknown command or category name in ACL"
	aclNoEffect = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid " +
		"and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
)

// apply changes the user as one rule says, and returns what is wrong with it.
func (u *user) apply(rule string) string {
	switch strings.ToLower(rule) {
	case "on", "off", "nopass", "resetpass", "allchannels", "resetchannels", "clearselectors",
		"sanitize-payload", "skip-sanitize-payload":
		return ""
	case "allkeys", "~*":
		u.allKeys, u.patterns = true, nil
		return ""
	case "resetkeys":
		u.allKeys, u.patterns = false, nil
		return ""
	case "allcommands":
		return u.allow("+@all")
	case "nocommands":
		return u.allow("-@all")
	case "reset":
		*u = user{commands: map[*command]bool{}}
		return ""
	}
	switch rule[0] {
	case '+', '-':
		return u.allow(rule)
	case '~':
		return u.permit(mayRead|mayWrite, rule[1:])
	case '%':
		letters, glob, _ := strings.Cut(rule[1:], "~")
		var permits permission
		for _, letter := range strings.ToUpper(letters) {
			p := map[rune]permission{'R': mayRead, 'W': mayWrite}[letter]
			if p == 0 || permits&p != 0 {
				return aclSyntax
			}
			permits |= p
		}
		return u.permit(permits, glob)
	case '>', '<', '#', '!', '&':
		return ""
	case '(':
		return "selectors are not modelled"
	}
	return aclSyntax
}

func (u *user) permit(permits permission, glob string) string {
	if u.allKeys {
		return aclNoEffect
	}
	if i := slices.IndexFunc(u.patterns, func(p keyPattern) bool { return p.glob == glob }); i >= 0 {
		u.patterns[i].permits |= permits
		return ""
	}
	u.patterns = append(u.patterns, keyPattern{glob, permits})
	return ""
}

// aclCategories are those of Redis 7.0. Some have no command here.
var aclCategories = []string{
	"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream",
	"pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
}

// allow allows or forbids a command, a subcommand or a category. What is said
// of a command goes for its subcommands.
func (u *user) allow(rule string) string {
	name, may := strings.ToLower(rule[1:]), rule[0] == '+'
	category, isCategory := strings.CutPrefix(name, "@")
	if isCategory {
		if category != "all" && !slices.Contains(aclCategories, category) {
			return aclUnknown
		}
		for _, cmd := range commands {
			if category == "all" || cmd.inCategory(category) {
				u.set(cmd, may)
			}
			for _, sub := range cmd.subcommands {
				if sub.inCategory(category) {
					u.set(sub, may)
				}
			}
		}
		return ""
	}
	name, sub, isSub := strings.Cut(name, "|")
	cmd := commands[name]
	if cmd != nil && isSub {
		if cmd.subcommands == nil {
			return "first arguments are not modelled"
		}
		cmd = cmd.subcommands[sub]
	}
	if cmd == nil {
		return aclUnknown
	}
	u.set(cmd, may)
	return ""
}

func (u *user) set(cmd *command, may bool) {
	u.commands[cmd] = may
	for _, sub := range cmd.subcommands {
		u.commands[sub] = may
	}
}
