package differ

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// The engine is a Redis 7.0. Here stands how other versions truly differ from
// that, each difference as narrow as it can be said; all else must be the same.

// Refusal returns how the error begins with which a server refuses a command
// that Redis 7.0 takes, or refuses with other words; mostly it is empty.
func Refusal(program redisserver.Program, args []string) string {
	name := strings.ToLower(args[0])
	if !program.Before(7, 2) && (name == "zrank" || name == "zrevrank") && len(args) == 4 && args[3] != "WITHSCORE" {
		return "-ERR syntax error" // an option, where 7.0 takes none
	}
	if !program.Before(7, 0) {
		return ""
	}
	switch {
	case slices.Contains(since70, name):
		return "-ERR unknown command `" + args[0] + "`"
	case slices.Contains([]string{"expire", "pexpire", "expireat", "pexpireat", "xsetid"}, name) && len(args) > 3:
		return "-ERR wrong number of arguments for '" + name + "' command"
	}
	return ""
}

// since70 are commands that no earlier Redis has.
var since70 = []string{
	"blmpop", "bzmpop", "eval_ro", "evalsha_ro", "expiretime", "lmpop", "pexpiretime", "sintercard", "spublish",
	"zintercard", "zmpop",
}

// Incomparable reports a command that a server and Redis 7.0 take otherwise:
// 6.2 lets the least number overflow, and has no SET with both NX and GET, nor
// an XADD that makes up half an ID. 7.2 does other things with the least number,
// has other words for an XREAD with more keys than IDs, and has XSETID look at
// what was deleted, which 6.2 has look at its key first.
func Incomparable(program redisserver.Program, args []string) bool {
	has := func(option string) bool {
		return slices.ContainsFunc(args[1:], func(arg string) bool { return strings.EqualFold(arg, option) })
	}
	before70, since72 := program.Before(7, 0), !program.Before(7, 2)
	switch strings.ToLower(args[0]) {
	case "decrby":
		return before70 && has("-9223372036854775808")
	case "set":
		return before70 && has("NX") && has("GET")
	case "xadd":
		return before70 && slices.ContainsFunc(args, func(arg string) bool { return strings.HasSuffix(arg, "-*") })
	case "lset", "lpos":
		return since72 && has("-9223372036854775808")
	case "xread":
		at := slices.IndexFunc(args, func(arg string) bool { return strings.EqualFold(arg, "STREAMS") })
		return since72 && (len(args)-at)%2 == 0
	case "xsetid":
		return before70 || since72
	}
	return false
}

// raised is how Redis 6.2 begins an error that a script raised.
const raised = `^-ERR Error running script \(call to f_(\w+)\): (@user_script:\d+): (?:@user_script: \d+: )?`

// reworded is how Redis 7.0 says what Redis 6.2 says otherwise.
var reworded = []struct {
	said *regexp.Regexp
	is   string
}{
	// What a script raised, first by a command, which has a code, then by Lua.
	{regexp.MustCompile(raised + `-?([A-Z]+ .*)$`),
		`-$3 script: $1, on $2.`},
	{regexp.MustCompile(raised + `(.*)$`),
		`-ERR $3 script: $1, on $2.`},
	{regexp.MustCompile(`^-@user_script: \d+: -?([A-Z]{3,} .*)$`), `-$1`},
	{regexp.MustCompile(`^-@user_script: \d+: (.*)$`), `-ERR $1`},
	{regexp.MustCompile(`(This Redis command is not allowed from script)s`), `$1`},
	{regexp.MustCompile(`(Wrong number of args calling Redis command) From Lua script`), `$1 from script`},
	{regexp.MustCompile(`Unknown Redis command called from Lua script`), `Unknown Redis command called from script`},
	{regexp.MustCompile(`Please specify at least one argument for redis\.call\(\)`),
		`Please specify at least one argument for this redis lib call`},
	{regexp.MustCompile(`Lua redis\(\) command arguments must be`), `Lua redis lib command arguments must be`},
	{regexp.MustCompile(`invalid expire time in (\w+)`), `invalid expire time in '$1' command`},
	{regexp.MustCompile(`wrong number of arguments for MSET`), `wrong number of arguments for 'mset' command`},
	{regexp.MustCompile(`wrong number of arguments for XADD`), `wrong number of arguments for 'xadd' command`},
	{regexp.MustCompile(`(2 from the second), \.\.\.`),
		`$1 ... or use negative to start from the end of the list`},
}

var unknownCommand = regexp.MustCompile("^-ERR unknown command `")

// asEngine returns the engine's reply if the server's is the same but for how
// its version says it, and otherwise the server's.
func asEngine(program redisserver.Program, engine, server string) string {
	reply := server
	if program.Before(7, 0) {
		reply = in70sWords(server)
	}
	is70 := program.Before(7, 2) && !program.Before(7, 0)
	if reply == engine || !is70 && sameNumbers(engine, reply) {
		return engine
	}
	return server
}

func in70sWords(reply string) string {
	lines := strings.Split(reply, "\r\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "-") {
			continue
		}
		if unknownCommand.MatchString(line) {
			line = strings.ReplaceAll(strings.ReplaceAll(line, "`, ", "' "), "`", "'")
			line = strings.Replace(line, "' with args", "', with args", 1)
		}
		for _, r := range reworded {
			line = r.said.ReplaceAllString(line, r.is)
		}
		lines[i] = line
	}
	return strings.Join(lines, "\r\n")
}

// sameNumbers reports whether replies differ only in how a number is printed.
// Redis 7.0 prints 17 digits or, for a whole number in a small sorted set, all;
// 6.2 has always 17, and since 7.2 there are as many as tell it from others.
func sameNumbers(a, b string) bool {
	as, bs := strings.Split(a, "\r\n"), strings.Split(b, "\r\n")
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		if as[i] == bs[i] || strings.HasPrefix(as[i], "$") && strings.HasPrefix(bs[i], "$") {
			continue
		}
		x, errX := strconv.ParseFloat(as[i], 64)
		y, errY := strconv.ParseFloat(bs[i], 64)
		if errX != nil || errY != nil || x != y {
			return false
		}
	}
	return true
}

// scoreOf70 prints a score as Redis 7.0 does.
func scoreOf70(program redisserver.Program, text string) string {
	score, err := strconv.ParseFloat(text, 64)
	if err != nil || program.Before(7, 2) || strings.Contains(text, "inf") {
		return text
	}
	return strconv.FormatFloat(score, 'g', 17, 64)
}
