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
		shardsOn := make([]string, 3) // of shards whose slots are on one node each
		for i, shard := range []int{0, 1, 4} {
			owner, err := cluster.Owner(fmt.Sprintf("{app#%d/8/1}", shard))
			must(t, err)
			shardsOn[i] = owner.Addr
		}
		for _, test := range []struct{ command, want string }{
			{"echo '{\"key\":\"a\",\"value\":\"1\",\"ttl\":\"never\"}' | wildkey import", "imported 1 record\n"},
			{"echo '{\"key\":\"a\",\"value\":\"1\",\"ttl\":\"never\"}' | wildkey -n other import", "imported 1 record\n"},
			{"wildkey ls '**' --values", "EXPIRES IN      BYTES  KEY\n     never          1  a = 1\n"},
			{"wildkey export", `{"key":"a","value":"1","ttl":"never"}` + "\n"},
			{"wildkey check", "1 record, 1 index entry, 0 stale (0.0%): 0 breaches\n"},
			{"wildkey reindex", "reindexed 1 record\n"},
			{"wildkey sweep", "cleared away 0 stale entries\n"},
			{"wildkey top --json | cut -d, -f 1 | sort", "{\"namespace\":\"app\"\n{\"namespace\":\"other\"\n"},
			{"wildkey scripts load --json | cut -d: -f 4- | sort -u",
				`["` + strings.Join(addresses, `","`) + `"],"missing":[]}` + "\n"},
			{"wildkey doctor | grep cluster", "ok       server    redis VERSION at " + home.Addr + ", cluster, master\n" +
				"ok       cluster   slots on " + home.Addr + ": {app} 6805\n"},
			{"wildkey rm --yes a", "deleted 1 record\n"},
			// Shards lie on all nodes.
			{"for i in 1 2 3 4 5 6 7 8 9; do echo '{\"key\":\"'$i':x\",\"value\":\"v\",\"ttl\":\"never\"}'; done | wildkey import",
				"imported 9 records\n"},
			{"wildkey reshard --to-shards 8 --yes", "moved 9 records from {app} to {app#0/8/1}..{app#7/8/1}\n"},
			{"wildkey doctor 2>&- | tail -3 | head -1", "problem  shards    the namespace has an index outside of {app} too, " +
				"which no pattern meets here: {app#0/8/1}..{app#7/8/1}\n"},
			{"wildkey check --json 2>&- | tail -1", // of all nodes
				`{"records":0,"leases":0,"index_entries":0,"stale_entries":0,"breaches":1}` + "\n"},
			{"export WILDKEY_SHARDS=8; wildkey ls '**' --keys && wildkey get 7:x",
				"1:x\n2:x\n3:x\n4:x\n5:x\n6:x\n7:x\n8:x\n9:x\nv"},
			{"wildkey --shards 8 export '8:**'", `{"key":"8:x","value":"v","ttl":"never"}` + "\n"},
			{"wildkey --shards 8 check", "9 records, 9 index entries, 0 stale (0.0%): 0 breaches\n"},
			{"wildkey --shards 8 top --json | cut -d, -f 1,2,4 | sort", "{\"namespace\":\"app\",\"shards\":8,\"records\":9\n" +
				"{\"namespace\":\"other\",\"shards\":1,\"records\":1\n"},
			{"wildkey --shards 8 reindex", "reindexed 9 records\n"},
			{"wildkey --shards 8 doctor | grep -vi -e memory -e acl -e lua -e problems,", strings.NewReplacer(
				"FIRST", shardsOn[0], "SECOND", shardsOn[1], "THIRD", shardsOn[2]).Replace(
				`ok       server    redis VERSION at FIRST, cluster, master
ok       server    redis VERSION at SECOND, cluster, master
ok       server    redis VERSION at THIRD, cluster, master
ok       cluster   slots on FIRST: {app#0/8/1} 12131, {app#2/8/1} 11232
ok       cluster   slots on SECOND: {app#1/8/1} 1330, {app#3/8/1} 433, {app#5/8/1} 3124, {app#7/8/1} 2231
ok       cluster   slots on THIRD: {app#4/8/1} 9829, {app#6/8/1} 8934
ok       eviction  noeviction evicts nothing: a full server refuses writes, on FIRST SECOND THIRD
ok       scripts   all 4 are loaded
ok       indexes   9 entries; wildkey check looks at each
ok       stale     0.0% stale, of 9 index entries looked up
`)},
			{"wildkey --shards 8 reshard --to-shards 2 --to-namespace app2 --yes",
				"moved 9 records from {app#0/8/1}..{app#7/8/1} to {app2#0/2/1}..{app2#1/2/1}\n"},
			{"wildkey -n app2 --shards 2 rm --yes '*:*'", "deleted 9 records\n"},
		} {
			output, code := run(test.command)
			if version := home.Program.Version; version != "" {
				output = strings.ReplaceAll(output, home.Program.Name+" "+version, "redis VERSION")
			}
			if output != test.want || code != 0 {
				t.Errorf("%s: exit code %d, and\n%swant\n%s", test.command, code, output, test.want)
			}
		}
	})
}
