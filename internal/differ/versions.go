package differ

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// The engine is a Redis 7.0. Here stands how other versions say the same otherwise.

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
	if reply == engine || !is70 && sameNumbers(engine, reply) ||
		program.Name == "valkey" && digest.ReplaceAllString(engine, " script:$1") == reply {
		return engine
	}
	return server
}

// digest is that of a script in the error that it ended with. Valkey from 9.1 on
// leaves it out.
var digest = regexp.MustCompile(` script: [0-9a-f]{40},( on )`)

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
