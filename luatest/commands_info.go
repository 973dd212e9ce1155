package luatest

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// cmdInfo has the sections of which the engine knows something, with what it
// knows. It does not make up what it does not count.
func cmdInfo(e *Engine, args []string) any {
	mode, role, cluster := "standalone", "master", 0
	if e.gate.cluster {
		mode, cluster = "cluster", 1
	}
	if e.gate.replica {
		role = "slave"
	}
	e.connMu.Lock()
	clients := 0
	for served := range e.open {
		if _, isConn := served.(net.Conn); isConn {
			clients++
		}
	}
	e.connMu.Unlock()
	sections := []struct{ title, fields string }{
		{"Server", fmt.Sprintf("redis_version:%s\nredis_mode:%s\nserver_time_usec:%d\n",
			redisVersion, mode, e.keys.now.UnixMicro())},
		{"Clients", fmt.Sprintf("connected_clients:%d\nblocked_clients:0\n", clients)},
		{"Memory", fmt.Sprintf("used_memory:%d\nnumber_of_cached_scripts:%d\nmaxmemory:%d\nmaxmemory_policy:noeviction\n",
			e.keys.estimate(), len(e.scripts), e.maxMemory)},
		{"Replication", fmt.Sprintf("role:%s\nconnected_slaves:0\n", role)},
		{"Cluster", fmt.Sprintf("cluster_enabled:%d\n", cluster)},
		{"Keyspace", e.keys.info()},
	}
	wanted := args[1:]
	isWanted := func(title string) bool {
		return len(wanted) == 0 || slices.ContainsFunc(wanted, func(section string) bool {
			return slices.Contains([]string{strings.ToLower(title), "default", "all", "everything"}, strings.ToLower(section))
		})
	}
	var texts []string
	for _, section := range sections {
		if isWanted(section.title) {
			texts = append(texts, "# "+section.title+"\n"+section.fields)
		}
	}
	return strings.ReplaceAll(strings.Join(texts, "\n"), "\n", "\r\n")
}

// info is the line of INFO about the keys, if there are any.
func (k *keyspace) info() string {
	if k.keys.len() == 0 {
		return ""
	}
	var expires, left int64
	for _, name := range k.keys.names() {
		if e, _ := k.keys.get(name); e.expires {
			expires++
			left += max(0, e.expireAt-k.nowMillis())
		}
	}
	return fmt.Sprintf("db0:keys=%d,expires=%d,avg_ttl=%d\n", k.keys.len(), expires, left/max(1, expires))
}
