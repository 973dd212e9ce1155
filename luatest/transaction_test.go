package luatest_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/internal/resp"
	"github.com/wildkey/wildkey/luatest"
)

// transactions are sequences of commands; the ones after "other:" come over
// another connection.
var transactions = []string{
	"MULTI; SET k 1; INCR k; GET k; EXEC; GET k",
	"MULTI; EXEC",
	"MULTI; SET k 1; DISCARD; EXEC; GET k; DISCARD",
	"MULTI; MULTI; SET k 1; EXEC",
	"MULTI; SET k; GET k; EXEC; GET k; EXEC",
	"MULTI; nosuch; EXEC; GET k",
	"MULTI; SET k x; INCR k; APPEND; EXEC",
	"MULTI; SET k x; INCR k; SET after 1; EXEC; GET after",
	"MULTI; WATCH k; EXEC",
	"MULTI; EVAL return{KEYS,1} 1 k; EXEC",
	"MULTI; UNWATCH; PING; ECHO a; SELECT 0; EXEC",
	"MULTI a; EXEC a; DISCARD a; WATCH; UNWATCH a",
	"MULTI; SET k 1; EXEC a; GET k; EXEC",
	"EVAL return(redis.call('MULTI')) 0",
	"WATCH k; other: SET k 2; MULTI; SET k 3; EXEC; GET k; MULTI; SET k 3; EXEC",
	"SET k 1; WATCH k; other: SET k 1; MULTI; GET k; EXEC",
	"SET k 1; WATCH k; other: GET k; MULTI; GET k; EXEC",
	"SET k 1; WATCH k; other: EXPIRE k 100; MULTI; GET k; EXEC",
	"SET k 1; WATCH k; other: SETNX k 2; MULTI; GET k; EXEC",
	"WATCH k; WATCH k other; other: HSET other a 1; MULTI; GET k; EXEC",
	"WATCH k; other: HSET k a 1; other: DEL k; MULTI; GET k; EXEC",
	"WATCH k; other: SET k 1; UNWATCH; MULTI; GET k; EXEC",
	"WATCH k; other: SET k 1; MULTI; DISCARD; MULTI; GET k; EXEC",
	"WATCH k; SET k 1; MULTI; GET k; EXEC",
	"WATCH k; MULTI; SET k 1; EXEC",
	"MULTI; SET k 1; other: CONFIG SET maxmemory 1; EXEC; GET k; other: CONFIG SET maxmemory 0",
	"MULTI; BLPOP none 0; BLMOVE none other LEFT LEFT 0; BZPOPMIN none 0; BLMPOP 0 1 none LEFT; BZMPOP 0 1 none MIN; EXEC",
	"MULTI; XREAD BLOCK 0 STREAMS none 0; EVAL return(redis.pcall('XREAD','BLOCK',0,'STREAMS','none',0)) 0; EXEC",
	"MULTI; EVAL return(redis.pcall('BLMPOP',0,1,'none','LEFT')) 0; BLPOP none 0; EXEC",
	"CONFIG SET maxmemory 1; MULTI; SET k 1; EXEC; CONFIG SET maxmemory 0",
}

// TestTransactions gives the sequences to an engine and to a server.
func TestTransactions(t *testing.T) {
	onBoth := func(t *testing.T, sequence string, dial func() net.Conn) []string {
		t.Helper()
		own, other := resp.New(dial()), resp.New(dial())
		defer own.Close()
		defer other.Close()
		replies, err := own.Do([]string{"FLUSHALL"})
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range strings.Split(sequence, "; ") {
			conn := own
			command, fromOther := strings.CutPrefix(command, "other: ")
			if fromOther {
				conn = other
			}
			reply, err := conn.Do(strings.Fields(command))
			if err != nil {
				t.Fatal(err)
			}
			replies = append(replies, fmt.Sprintf("%s\n%q", command, reply[0]))
		}
		return replies
	}
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		if server.Program.Minor() != "redis-7.0" {
			t.Skip("the engine is a Redis 7.0")
		}
		for _, sequence := range transactions {
			engine := luatest.New()
			client := engine.Client()
			got := onBoth(t, sequence, func() net.Conn {
				conn, err := client.Options().Dialer(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				return conn
			})
			want := onBoth(t, sequence, func() net.Conn {
				conn, err := net.Dial("tcp", server.Addr)
				if err != nil {
					t.Fatal(err)
				}
				return conn
			})
			client.Close()
			engine.Close()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\n(-%s +engine)\n%s", sequence, server.Program, diff)
			}
		}
	})
}
