package wildkey_test

import (
	"testing"

	"github.com/wildkey/wildkey"
)

// TestShard has vectors that any zlib gives: python3 -c "import zlib; print(zlib.crc32(b'user:42') % 48)".
func TestShard(t *testing.T) {
	for _, row := range []struct {
		key             wildkey.Key
		shards, leading int
		want            int
	}{
		{wildkey.K("123456789"), 1 << 30, 1, 3421780262 % (1 << 30)},
		{wildkey.K("123456789", "more"), 1_000_000, 1, 780_262},
		{wildkey.K("user", 42, "session", "abc"), 48, 1, 41},
		{wildkey.K("user", 42, "session", "abc"), 48, 2, 22},
		{wildkey.K("user", 42), 48, 5, 22},
		{wildkey.K("a b"), 7, 1, 0},
		{wildkey.K("user"), 1, 1, 0},
	} {
		if got := row.key.Shard(row.shards, row.leading); got != row.want {
			t.Errorf("%s, the first %d of %d shards: %d, want %d", row.key, row.leading, row.shards, got, row.want)
		}
	}
}
