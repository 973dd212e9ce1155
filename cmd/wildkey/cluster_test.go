package main

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestCluster gives the tool the URL of the node that does not have the
// namespace: it finds out that this is a cluster, and where to go.
func TestCluster(t *testing.T) {
	clustered := []string{"--cluster-enabled", "yes"}
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx := context.Background()
		second, err := server.Program.Run(clustered...)
		must(t, err)
		t.Cleanup(second.Close)
		servers := []*redisserver.Server{server, second}
		host, port, err := net.SplitHostPort(servers[1].Addr)
		must(t, err)
		must(t, servers[0].Client(t).Do(ctx, "CLUSTER", "MEET", host, port).Err())
		for i, server := range servers {
			must(t, server.Client(t).ClusterAddSlotsRange(ctx, i*8192, i*8192+8191).Err())
		}
		for _, server := range servers {
			client := server.Client(t)
			waitFor(t, func() bool { return isWhole(ctx, client) })
		}
		run := shell(t, servers[1])
		for _, test := range []struct{ command, want string }{
			// The slot of app is on the first node, the URL is that of the second.
			{"echo '{\"key\":\"a\",\"value\":\"1\",\"ttl\":0}' | wildkey import", "imported 1 record\n"},
			{"echo '{\"key\":\"a\",\"value\":\"1\",\"ttl\":0}' | wildkey -n other import", "imported 1 record\n"},
			{"wildkey ls --values", "EXPIRES IN      BYTES  KEY\n     never          1  a = 1\n"},
			{"wildkey export", `{"key":"a","value":"1","ttl":0}` + "\n"},
			{"wildkey check", "1 record, 1 index entry, 0 stale: 0 breaches\n"},
			{"wildkey reindex", "reindexed 1 record\n"},
			{"wildkey sweep", "cleared away 0 entries: 0 expired, 0 evicted or deleted by hand\n"},
			{"wildkey top --json | cut -d, -f 1", "{\"namespace\":\"app\"\n{\"namespace\":\"other\"\n"},
			{"wildkey scripts load --json | cut -d: -f 4- | sort -u", both(servers)},
			{"wildkey doctor | grep cluster", "ok       server    redis VERSION at " + servers[0].Addr + ", cluster, master\n" +
				"ok       cluster   slot 6805 of {app} lies on " + servers[0].Addr + ", with all of this namespace\n"},
			{"wildkey rm --yes a", "deleted 1 record\n"},
		} {
			output, code := run(test.command)
			if version := servers[0].Client(t).InfoMap(ctx, "server").Val()["Server"]["redis_version"]; version != "" {
				output = strings.ReplaceAll(output, version, "VERSION")
			}
			if output != test.want || code != 0 {
				t.Errorf("%s: exit code %d, and\n%swant\n%s", test.command, code, output, test.want)
			}
		}
	}, clustered...)
}

func isWhole(ctx context.Context, client *redis.Client) bool {
	info := client.ClusterInfo(ctx).Val()
	return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_size:2")
}

// both is what scripts load says of each script, by address.
func both(servers []*redisserver.Server) string {
	first, second := servers[0].Addr, servers[1].Addr
	if second < first {
		first, second = second, first
	}
	return `["` + first + `","` + second + `"],"missing":[]}` + "\n"
}
