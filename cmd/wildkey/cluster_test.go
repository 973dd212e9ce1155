package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestCluster gives the tool the URL of one node of a cluster: it finds out that
// this is a cluster, and where to go.
func TestCluster(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		home, err := cluster.Owner("{app}")
		must(t, err)
		other := cluster.Nodes[slices.IndexFunc(cluster.Nodes, func(s *redisserver.Server) bool { return s != home })]
		addresses := cluster.Addrs()
		slices.Sort(addresses)
		run := shell(t, other)
		shardsOn := make([]string, 3) // the nodes of {app#0}, {app#1}, {app#2}: by their slots, one each
		for i := range shardsOn {
			owner, err := cluster.Owner(fmt.Sprintf("{app#%d}", i))
			must(t, err)
			shardsOn[i] = owner.Addr
		}
		for _, test := range []struct{ command, want string }{
			{"echo '{\"key\":\"a\",\"value\":\"1\",\"ttl\":0}' | wildkey import", "imported 1 record\n"},
			{"echo '{\"key\":\"a\",\"value\":\"1\",\"ttl\":0}' | wildkey -n other import", "imported 1 record\n"},
			{"wildkey ls --values", "EXPIRES IN      BYTES  KEY\n     never          1  a = 1\n"},
			{"wildkey export", `{"key":"a","value":"1","ttl":0}` + "\n"},
			{"wildkey check", "1 record, 1 index entry, 0 stale: 0 breaches\n"},
			{"wildkey reindex", "reindexed 1 record\n"},
			{"wildkey sweep", "cleared away 0 entries: 0 expired, 0 evicted or deleted by hand\n"},
			{"wildkey top --json | cut -d, -f 1", "{\"namespace\":\"app\"\n{\"namespace\":\"other\"\n"},
			{"wildkey scripts load --json | cut -d: -f 4- | sort -u",
				`["` + strings.Join(addresses, `","`) + `"],"missing":[]}` + "\n"},
			{"wildkey doctor | grep cluster", "ok       server    redis VERSION at " + home.Addr + ", cluster, master\n" +
				"ok       cluster   slots on " + home.Addr + ": {app} 6805\n"},
			{"wildkey rm --yes a", "deleted 1 record\n"},
			// Shards lie on all nodes.
			{"for i in 1 2 3 4 5 6 7 8 9; do echo '{\"key\":\"'$i':x\",\"value\":\"v\",\"ttl\":0}'; done | wildkey import",
				"imported 9 records\n"},
			{"wildkey reshard --to-shards 8 --yes", "moved 9 records from {app} to {app#0}..{app#7}\n"},
			{"wildkey doctor 2>&- | tail -2 | head -1", "problem  shards    the namespace has records outside of {app} too: " +
				"{app#0}, {app#2}, {app#3}, {app#4}, {app#5}, {app#6}, {app#7}\n"},
			{"wildkey check --json 2>&- | tail -1", // 9 records, and 7 indexes, on all nodes
				`{"records":0,"index_entries":0,"stale_entries":0,"breaches":16}` + "\n"},
			{"export WILDKEY_SHARDS=8; wildkey ls --keys && wildkey get 7:x",
				"1:x\n2:x\n3:x\n4:x\n5:x\n6:x\n7:x\n8:x\n9:x\nv"},
			{"wildkey --shards 8 export '8:**'", `{"key":"8:x","value":"v","ttl":0}` + "\n"},
			{"wildkey --shards 8 check", "9 records, 9 index entries, 0 stale: 0 breaches\n"},
			{"wildkey --shards 8 top --json | cut -d, -f 1,3", "{\"namespace\":\"app\",\"records\":9\n" +
				"{\"namespace\":\"other\",\"records\":1\n"},
			{"wildkey --shards 8 reindex", "reindexed 9 records\n"},
			{"wildkey --shards 8 doctor | grep -v memory", strings.NewReplacer(
				"FIRST", shardsOn[0], "SECOND", shardsOn[1], "THIRD", shardsOn[2]).Replace(
				`ok       server    redis VERSION at FIRST, cluster, master
ok       server    redis VERSION at SECOND, cluster, master
ok       server    redis VERSION at THIRD, cluster, master
ok       cluster   slots on FIRST: {app#0} 3094, {app#4} 3218
ok       cluster   slots on SECOND: {app#1} 7223, {app#5} 7347
ok       cluster   slots on THIRD: {app#2} 11348, {app#3} 15477, {app#6} 11472, {app#7} 15601
ok       eviction  noeviction leaves the indexes alone, on FIRST SECOND THIRD
ok       scripts   all 5 are loaded
ok       acl       user default may call all that the verbs and the scripts call, on FIRST SECOND THIRD
ok       indexes   9 entries, 0 of them with an expiry; wildkey check looks at each
ok       stale     0.0% of 9 index entries looked up have no record
`)},
			{"wildkey --shards 8 reshard --to-shards 2 --to-namespace app2 --yes",
				"moved 9 records from {app#0}..{app#7} to {app2#0}..{app2#1}\n"},
			{"wildkey -n app2 --shards 2 rm --yes '*:*'", "deleted 9 records\n"},
		} {
			output, code := run(test.command)
			if version := home.Program.Version; version != "" {
				output = strings.ReplaceAll(output, version, "VERSION")
			}
			if output != test.want || code != 0 {
				t.Errorf("%s: exit code %d, and\n%swant\n%s", test.command, code, output, test.want)
			}
		}
	})
}
