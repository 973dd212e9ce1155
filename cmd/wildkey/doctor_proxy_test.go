package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/internal/resp"
)

// proxy returns the address of a listener that passes commands on to the server, but for those to which answer has
// another reply than "": it is given a command and the server's reply.
func proxy(t *testing.T, server *redisserver.Server, answer func(command, reply string) string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				backend, err := resp.Dial(server.Addr)
				if err != nil {
					return
				}
				defer backend.Close()
				in := bufio.NewReader(client)
				for {
					command, err := readCommand(in)
					if err != nil {
						return
					}
					text, reply := strings.Join(command, " "), "-ERR unknown command 'HELLO'\r\n"
					if !strings.EqualFold(command[0], "HELLO") || len(command) == 1 { // else it would begin RESP3
						replies, err := backend.Do(command)
						if err != nil {
							return
						}
						reply = replies[0]
					}
					if other := answer(text, reply); other != "" {
						reply = other
					}
					if _, err := io.WriteString(client, reply); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func readCommand(in *bufio.Reader) ([]string, error) {
	count, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(count[1:]))
	command := make([]string, n)
	for i := range command {
		var length string
		if length, err = in.ReadString('\n'); err != nil {
			return nil, err
		}
		size, _ := strconv.Atoi(strings.TrimSpace(length[1:]))
		body := make([]byte, size+2)
		if _, err = io.ReadFull(in, body); err != nil {
			return nil, err
		}
		command[i] = string(body[:size])
	}
	return command, err
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func hello(facts ...string) string {
	reply := fmt.Sprintf("*%d\r\n", len(facts))
	for _, fact := range facts {
		reply += bulk(fact)
	}
	return reply
}

// without returns the reply of INFO without some fields.
func without(fields ...string) func(command, reply string) string {
	return func(command, reply string) string {
		if !strings.HasPrefix(strings.ToUpper(command), "INFO") {
			return ""
		}
		_, text, _ := strings.Cut(reply, "\r\n")
		var kept []string
		for _, line := range strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n") {
			name, _, _ := strings.Cut(line, ":")
			if !strings.Contains(" "+strings.Join(fields, " ")+" ", " "+name+" ") {
				kept = append(kept, line)
			}
		}
		return bulk(strings.Join(kept, "\r\n"))
	}
}

// says replies to commands that begin so.
func says(pairs ...string) func(command, reply string) string {
	return func(command, _ string) string {
		for i := 0; i < len(pairs); i += 2 {
			if strings.HasPrefix(strings.ToUpper(command), pairs[i]) {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// TestDoctorBehindProxies: a fact that a proxy, or another engine than Redis, does not tell is not judged.
func TestDoctorBehindProxies(t *testing.T) {
	const unknown = "-ERR unknown command\r\n"
	bare := func(reply string) func(command, _ string) string {
		return func(command, _ string) string {
			if strings.EqualFold(command, "HELLO") {
				return reply
			}
			return ""
		}
	}
	server := func(fields string) string {
		return bulk("# Server\r\n" + fields + "\r\n# Replication\r\nrole:master\r\n")
	}
	for name, test := range map[string]struct {
		answer func(command, reply string) string
		want   []string
		not    []string
		code   int
	}{
		"policy": {without("maxmemory_policy"),
			[]string{"note     eviction  cannot be seen: INFO does not tell maxmemory_policy\n"}, []string{"ok       eviction"}, 0},
		"limit": {without("maxmemory"),
			[]string{"note     memory    cannot be seen: INFO tells "}, []string{"without a limit"}, 0},
		"memory": {without("used_memory"),
			[]string{"note     memory    cannot be seen: INFO does not tell used_memory\n"}, []string{"0 B used"}, 0},
		"all of INFO memory": {says("INFO", "$0\r\n\r\n"),
			[]string{"eviction  cannot be seen", "memory    cannot be seen"}, []string{"ok       eviction", "ok       memory"}, 0},
		"another policy": {says("INFO MEMORY", bulk("# Memory\r\nused_memory:1\r\nmaxmemory:100\r\nmaxmemory_policy:cache\r\n")),
			[]string{"note     eviction  cannot be seen: what the policy cache does to an index is not known"}, nil, 0},
		"allkeys-lrm": {says("INFO MEMORY", bulk("# Memory\r\nused_memory:1\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lrm\r\n")),
			[]string{"problem  eviction  allkeys-lrm may evict an index"}, nil, exitFindings},
		"volatile-lrm": {says("INFO MEMORY", bulk("# Memory\r\nused_memory:1\r\nmaxmemory:100\r\nmaxmemory_policy:volatile-lrm\r\n")),
			[]string{"ok       eviction  volatile-lrm evicts records"}, nil, 0},
		"HELLO": {says("HELLO", unknown),
			[]string{"ok       server    ", ", standalone, master\n"}, []string{"cannot be seen: connecting"}, 0},
		"HELLO and INFO": {says("HELLO", unknown, "INFO", unknown),
			[]string{"note     server    cannot be seen: HELLO and INFO do not tell all of redis unknown version at ",
				", unknown mode, unknown role\n", "ok       acl "},
			[]string{"before Redis 7.0", "need Redis 6.2 or later: upgrade", "give the master's URL"}, 0},
		"role": {bare(hello("server", "redis", "version", "7.4.9", "mode", "standalone")),
			[]string{", standalone, master\n"}, nil, 0}, // by INFO
		"ACL": {says("ACL", "-ERR ACL is not supported\r\n"),
			[]string{"note     acl       cannot be seen: ERR ACL is not supported\n"}, []string{"may not"}, 0},
		"ACL DRYRUN": {says("ACL DRYRUN", "-ERR Unknown subcommand or wrong number of arguments for 'DRYRUN'. Try ACL HELP.\r\n"),
			[]string{"note     acl       cannot be seen: ERR Unknown subcommand"}, []string{"may not"}, 0},
		"loading": {says("ACL", "-LOADING Redis is loading the dataset in memory\r\n"),
			[]string{"problem  acl       cannot be seen: the server is still loading its data\n"}, nil, exitFindings},
		"KeyDB": {says("INFO SERVER", server("redis_version:6.3.4\r\nexecutable:/data/keydb-server"),
			"INFO MEMORY", unknown, "INFO", server("redis_version:6.3.4\r\nexecutable:/data/keydb-server")+""),
			[]string{"problem  server    keydb ", "KeyDB is not supported"}, nil, exitFindings},
		"active replica": {bare(hello("server", "redis", "version", "6.3.4", "mode", "standalone", "role", "active-replica")),
			[]string{"problem  server    ", "two servers take writes"}, nil, exitFindings},
		"Dragonfly": {says("INFO", server("redis_version:7.4.0\r\ndragonfly_version:df-v1.40.1")),
			[]string{"note     server    dragonfly df-v1.40.1 at ", "not tested on Dragonfly"}, []string{"known holes"}, 0},
		"Valkey as Redis": {says("INFO", server("redis_version:7.2.4\r\nvalkey_version:8.1.3")),
			[]string{"ok       server    valkey 8.1.3 at ", "valkey 8.1.3 has known holes in its Lua: CVE-2025-46817"}, nil, 0},
		"EVALSHA": {says("EVALSHA ", unknown),
			[]string{"problem  scripts   ", " has no EVALSHA: no script runs\n"}, nil, exitFindings},
		"Lua": {says("SCRIPT LOAD", "-ERR Could not find scripting engine 'lua'\r\n", "EVALSHA", "-NOSCRIPT No matching script.\r\n"),
			[]string{"problem  scripts   ", " has no Lua: no script runs\n"}, nil, exitFindings},
		"undeclared keys": {says("EVALSHA ", "-ERR script tried accessing undeclared key\r\n"),
			[]string{"problem  scripts   ", "-> set Options.DeclaredKeys in the clients\n"}, nil, exitFindings},
	} {
		t.Run(name, func(t *testing.T) {
			redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
				needsRedis7(t, server, "what doctor asks about permissions")
				address := proxy(t, server, test.answer)
				output, code := shell(t, server)("wildkey --url redis://" + address + " doctor")
				if code != test.code {
					t.Errorf("exit code %d, want %d", code, test.code)
				}
				for _, want := range test.want {
					if !strings.Contains(output, want) {
						t.Errorf("lacks %q:\n%s", want, output)
					}
				}
				for _, not := range test.not {
					if strings.Contains(output, not) {
						t.Errorf("has %q:\n%s", not, output)
					}
				}
			})
		})
	}
}
